//! portolan tests
