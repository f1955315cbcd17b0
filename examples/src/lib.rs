//! portolan examples
