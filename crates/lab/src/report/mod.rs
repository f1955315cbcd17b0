//! Tables, pages and comparisons.
