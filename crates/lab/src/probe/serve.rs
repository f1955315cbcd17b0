//! `lab probe serve`: the other end of `transfer`, `messages` and `stream`.

use std::{io, net::SocketAddr, process::ExitCode, sync::Arc, time::Duration};

use portolan::{Connection, Endpoint, Identity, Shared};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::{
    Problem,
    across::{self, Pipe, Request},
    cannot,
    client::{config, raw_port},
    messages::Arrivals,
    say,
};

/// Connections of each kind that are served at once; more wait.
const CONNECTIONS_MAX: usize = 256;

/// A connection is forgotten when nothing has come for this long.
const IDLE: Duration = Duration::from_secs(30);

/// `lab probe serve`.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Where to listen: TCP, UDP and QUIC on this port, a bare TCP socket on the next
    #[arg(long, default_value = "0.0.0.0:7010", value_name = "ADDRESS")]
    listen: SocketAddr,
}

pub(super) async fn run(options: &Options) -> Result<ExitCode, Problem> {
    let identity = Identity::generate();
    let shared = Shared::default();
    let mut tasks = JoinSet::new();
    for transport in portolan::ALL_TRANSPORTS {
        let mut config = config(options.listen, identity.clone(), IDLE);
        config.shared = shared.clone();
        let name = transport.scheme();
        let endpoint = transport
            .bind(config)
            .await
            .map_err(cannot(format!("serve {name} on {}", options.listen)))?;
        say(format_args!("serving {name} on {}", endpoint.local_addr()));
        tasks.spawn(endpoint_loop(endpoint));
    }
    let raw = SocketAddr::new(options.listen.ip(), raw_port(options.listen.port()));
    let listener =
        TcpListener::bind(raw).await.map_err(cannot(format!("serve raw-tcp on {raw}")))?;
    say(format_args!("serving raw-tcp on {raw}"));
    tasks.spawn(raw_loop(listener));
    // They end only when accepting fails for good.
    tasks.join_next().await;
    Err(Problem("a listening socket was closed by the system".to_owned()))
}

async fn endpoint_loop(endpoint: Arc<dyn Endpoint>) {
    let mut connections = JoinSet::new();
    while let Ok(connection) = endpoint.accept().await {
        make_room(&mut connections).await;
        connections.spawn(connection_loop(connection));
    }
}

async fn connection_loop(connection: Arc<dyn Connection>) {
    let mut streams = JoinSet::new();
    let arrivals = Arrivals::default();
    let mut listening = JoinSet::new();
    listening.spawn(arrivals.clone().listen(Arc::clone(&connection)));
    // The number of streams is bounded by the connection's own limits.
    while let Ok((write, read)) = connection.accept_stream().await {
        while streams.try_join_next().is_some() {}
        let pipe = Pipe { read: Box::new(read), write: Box::new(write) };
        streams.spawn(serve(pipe, arrivals.clone()));
    }
}

async fn raw_loop(listener: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        // Accepting fails for a connection that is gone already, or for want of files.
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        make_room(&mut connections).await;
        connections.spawn(raw(stream));
    }
}

async fn raw(stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (read, write) = stream.into_split();
    let pipe = Pipe { read: Box::new(read), write: Box::new(write) };
    serve(pipe, Arrivals::default()).await
}

/// Waits until a place is free.
async fn make_room<T: 'static>(tasks: &mut JoinSet<T>) {
    while tasks.try_join_next().is_some() {}
    while tasks.len() >= CONNECTIONS_MAX {
        tasks.join_next().await;
    }
}

/// Serves one stream; what goes wrong ends it and concerns the asking side only.
async fn serve(mut pipe: Pipe, arrivals: Arrivals) -> io::Result<()> {
    match Request::receive(&mut pipe).await? {
        Request::Echo => {
            give_back(&mut pipe).await?;
            pipe.write.shutdown().await
        }
        Request::Upload => across::receive_and_report(&mut pipe).await,
        Request::Download(amount) => {
            across::send(&mut pipe.write, amount).await?;
            pipe.write.shutdown().await
        }
        Request::Messages => arrivals.tell(&mut pipe).await,
    }
}

/// Sends every piece back at once: a copy with a buffer of its own would wait for more.
async fn give_back(pipe: &mut Pipe) -> io::Result<()> {
    use tokio::io::AsyncReadExt as _;

    let mut buffer = vec![0; 16 << 10];
    loop {
        let length = pipe.read.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        pipe.write.write_all(&buffer[..length]).await?;
        pipe.write.flush().await?;
    }
}
