//! A connection inside any byte stream.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use portolan_identity::Expect;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{ConnectError, Connection, ConnectionConfig, Path};

/// Any byte stream in both directions.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

/// Makes a whole [`Connection`], encrypted end to end, inside a byte stream that someone else
/// carries: a relay's stream, a pipe.
///
/// The carrier sees ciphertext only. Both sides name the key that they expect.
#[async_trait]
pub trait Tunnel: fmt::Debug + Send + Sync + 'static {
    /// Starts as the side that asked for the stream. Cancel safe: the stream is dropped.
    ///
    /// # Errors
    /// [`ConnectError`] when the other end does not prove the key in time.
    async fn connect(
        &self,
        carrier: Box<dyn ByteStream>,
        path: Path,
        config: ConnectionConfig,
        expect: Expect,
    ) -> Result<Arc<dyn Connection>, ConnectError>;

    /// Starts as the side that was asked. Cancel safe: the stream is dropped.
    ///
    /// # Errors
    /// As for [`Self::connect`].
    async fn accept(
        &self,
        carrier: Box<dyn ByteStream>,
        path: Path,
        config: ConnectionConfig,
        expect: Expect,
    ) -> Result<Arc<dyn Connection>, ConnectError>;
}
