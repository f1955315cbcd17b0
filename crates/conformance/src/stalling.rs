//! A way over TCP that can go silent without ending.

use std::{
    future::pending,
    net::{Ipv4Addr, SocketAddr},
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{AbortHandle, JoinSet},
};

use crate::{BoxFuture, Detour, Detours};

/// Ways over TCP that carry everything until they go dark; then the connections stay, and nothing
/// comes.
#[derive(Debug, Clone, Copy)]
pub struct Stalling;

impl Detours for Stalling {
    fn open(&self, target: SocketAddr) -> BoxFuture<'static, Box<dyn Detour>> {
        Box::pin(async move {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
            let entry = listener.local_addr().expect("bound");
            let (dark, is_dark) = watch::channel(false);
            let task = tokio::spawn(serve(listener, target, is_dark)).abort_handle();
            Box::new(Way { entry, dark, task }) as Box<dyn Detour>
        })
    }
}

struct Way {
    entry: SocketAddr,
    dark: watch::Sender<bool>,
    task: AbortHandle,
}

impl Detour for Way {
    fn entry(&self) -> SocketAddr {
        self.entry
    }

    fn go_dark(&self) {
        self.dark.send_replace(true);
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, target: SocketAddr, dark: watch::Receiver<bool>) {
    // Ends with this task.
    let mut carried = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        carried.spawn(carry(client, target, dark.clone()));
    }
}

async fn carry(mut client: TcpStream, target: SocketAddr, mut dark: watch::Receiver<bool>) {
    let Ok(mut server) = TcpStream::connect(target).await else { return };
    tokio::select! {
        _ended = copy_bidirectional(&mut client, &mut server) => {}
        () = darkness(&mut dark) => pending().await,
    }
}

async fn darkness(dark: &mut watch::Receiver<bool>) {
    // A way that was dropped without going dark takes this task with it.
    let _ = dark.wait_for(|dark| *dark).await.map(drop);
}
