//! Small worlds from a file.
