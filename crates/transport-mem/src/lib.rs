//! A transport inside one process: the smallest complete example of the seam.
