//! The chat client: an asynchronous API, and the command line on top of it.
