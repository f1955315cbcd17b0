//! portolan benches
