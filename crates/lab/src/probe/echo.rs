//! `lab probe echo`: gives everything back.

use std::{net::SocketAddr, process::ExitCode, sync::Arc};

use tokio::{
    net::{TcpListener, TcpStream, UdpSocket},
    sync::Semaphore,
};

use super::{Problem, cannot, say};

/// TCP connections that are answered at once; more wait.
const CONNECTIONS_MAX: usize = 256;

/// `lab probe echo`.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Where to listen, UDP and TCP
    #[arg(long, default_value = "0.0.0.0:7007", value_name = "ADDRESS")]
    listen: SocketAddr,
}

pub(super) async fn run(options: &Options) -> Result<ExitCode, Problem> {
    let bind = || cannot(format_args!("listen on {}", options.listen).to_string());
    let udp = UdpSocket::bind(options.listen).await.map_err(bind())?;
    let bound = udp.local_addr().map_err(bind())?;
    let tcp = TcpListener::bind(bound).await.map_err(bind())?;
    say(format_args!("echo on {bound}, UDP and TCP"));
    tokio::select! {
        never = datagrams(&udp) => never,
        never = connections(&tcp) => never,
    }
}

async fn datagrams(socket: &UdpSocket) -> Result<ExitCode, Problem> {
    let mut buffer = vec![0; 65_536];
    loop {
        // An ICMP error about an earlier answer is reported here; it is not about us.
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
        let _ = socket.send_to(&buffer[..length], from).await;
    }
}

async fn connections(listener: &TcpListener) -> Result<ExitCode, Problem> {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut tasks = tokio::task::JoinSet::new();
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return Err(Problem("the echo was stopped".to_owned()));
        };
        let (stream, _) = listener.accept().await.map_err(cannot("accept a connection"))?;
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move {
            give_back(stream).await;
            drop(place);
        });
    }
}

async fn give_back(mut stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let (mut read, mut write) = stream.split();
    // The other side may go at any time.
    let _ = tokio::io::copy(&mut read, &mut write).await;
}
