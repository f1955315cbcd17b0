//! Tables of messages: an enum, the kind that names each variant on the wire, and its body.

use serde::{Serializer, de::DeserializeOwned};

/// A closed set of messages, each known on the wire by its kind.
pub trait Table: Sized {
    /// Every kind, in the order of the table.
    const KINDS: &'static [&'static str];

    /// This message's kind.
    fn kind(&self) -> &'static str;

    /// Writes the body.
    ///
    /// # Errors
    /// The serializer's own.
    fn serialize_body<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error>;

    /// Reads the body of a message of `kind`; `None` when this table has no such kind.
    fn read_body<R: BodyReader>(kind: &str, reader: R) -> Option<Result<Self, R::Error>>;
}

/// Reads one body of a type that only the table knows.
pub trait BodyReader {
    /// What can go wrong.
    type Error;

    /// Reads a `T` to the end of the body.
    ///
    /// # Errors
    /// When the body is not a `T`.
    fn read<T: DeserializeOwned>(self) -> Result<T, Self::Error>;
}

/// Declares a table: `Variant(Body) = "kind"`.
macro_rules! table {
    (
        $(#[$meta:meta])*
        pub enum $name:ident {
            $( $(#[$variant_meta:meta])* $variant:ident($body:ty) = $kind:literal, )+
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum $name {
            $( $(#[$variant_meta])* $variant($body), )+
        }

        impl $crate::table::Table for $name {
            const KINDS: &'static [&'static str] = &[$($kind),+];

            fn kind(&self) -> &'static str {
                match self { $( Self::$variant(_) => $kind, )+ }
            }

            fn serialize_body<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self { $( Self::$variant(body) => serde::Serialize::serialize(body, serializer), )+ }
            }

            fn read_body<R: $crate::table::BodyReader>(kind: &str, reader: R) -> Option<Result<Self, R::Error>> {
                match kind {
                    $( $kind => Some(reader.read().map(Self::$variant)), )+
                    _ => None,
                }
            }
        }

        $( impl From<$body> for $name {
            fn from(body: $body) -> Self { Self::$variant(body) }
        } )+
    };
}

pub(crate) use table;
