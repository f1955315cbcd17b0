//! What the reports say of runs that the tests made up.

mod compare;
mod fixture;
mod page;
mod program;
mod table;
