//! One program, any transport: `cargo run --example echo -- tcp` (or `udp`, `quic`).
//!
//! A server sends back what it reads; a client says something and prints the answer. Only the
//! word on the command line decides what carries the bytes.

#![expect(clippy::print_stdout, reason = "an example prints")]

use std::{error::Error, sync::Arc};

use portolan::{
    BindConfig, CloseCode, Connection, Endpoint, Expect, Identity, Priority, transport,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let scheme = std::env::args().nth(1).unwrap_or_else(|| "udp".into());
    let transport = transport(&scheme).ok_or("say tcp, udp or quic")?;

    let identity = Identity::generate();
    let server_id = identity.id();
    let server = transport.bind(BindConfig::new("127.0.0.1:0".parse()?, identity)).await?;
    let address = server.local_addr();
    let serving = tokio::spawn(serve(Arc::clone(&server)));

    let client =
        transport.bind(BindConfig::new("127.0.0.1:0".parse()?, Identity::generate())).await?;
    let connection = client.connect(address, Expect::Id(server_id)).await?;
    let (mut send, mut receive) = connection.open_stream(Priority::Interactive).await?;
    send.write_all(b"ahoy").await?;
    send.finish()?;
    let mut answer = String::new();
    receive.read_to_string(&mut answer).await?;
    println!("{answer} came back over {scheme} from {address}");

    connection.close(CloseCode::DONE, "done");
    client.close(CloseCode::DONE, "done").await;
    server.close(CloseCode::DONE, "done").await;
    serving.await?;
    Ok(())
}

async fn serve(endpoint: Arc<dyn Endpoint>) {
    while let Ok(connection) = endpoint.accept().await {
        tokio::spawn(echo(connection));
    }
}

async fn echo(connection: Arc<dyn Connection>) {
    while let Ok((mut send, mut receive)) = connection.accept_stream().await {
        // A stream that fails is that stream's matter; the next one is served.
        if tokio::io::copy(&mut receive, &mut send).await.is_ok() {
            let _ = send.finish();
        }
    }
}
