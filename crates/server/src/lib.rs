//! The chat server: registries, conversations, mailboxes and relay.
