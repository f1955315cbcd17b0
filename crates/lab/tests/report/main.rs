//! What the reports say of runs that the tests made up.

mod fixture;
mod page;
mod table;
