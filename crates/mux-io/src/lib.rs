//! Asynchronous streams over a stream machine: the shell that TCP and UDP share.
