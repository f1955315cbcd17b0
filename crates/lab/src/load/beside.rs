//! Another server that does the same work: Eclipse Mosquitto, as Debian ships it.
//!
//! It is started as a child on a free loopback port with a configuration of its own: TLS, a
//! persistent session for each client, persistence switched on. What is not the same: Mosquitto
//! acknowledges a publication when it has it in memory and writes its database from time to time,
//! where ours in its database has answered only what would survive a power cut; it tells senders
//! nothing of deliveries, where ours sends receipts; and it is one thread.

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::{net::TcpStream, time::sleep};
use tokio_rustls::TlsConnector;

use super::{
    client::Member,
    dialect::{Dialect, Mqtt, Packet},
    pipe::{Pipe, READ_SIZE},
    process::Process,
};
use crate::scratch::Scratch;

/// How it is called in tables.
pub(crate) const NAME: &str = "mosquitto";

/// Where Debian puts programs that are not for everyday use.
const PLACES: &[&str] = &["/usr/sbin", "/usr/local/sbin", "/usr/bin", "/usr/local/bin"];

/// A server that has not answered after so many attempts does not run.
const ATTEMPTS: u32 = 100;

const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(50);

/// Why there is no other server to compare with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoBroker {
    #[error("{0} is not installed; `apt-get install {0}` would")]
    Missing(&'static str),
    #[error("cannot {during}: {source}")]
    Io { during: &'static str, source: io::Error },
    #[error("openssl made no certificate")]
    Certificate,
    #[error("it did not start: {0}")]
    Silent(String),
}

/// A running Mosquitto.
pub(crate) struct Broker {
    process: Process,
    address: SocketAddr,
    connector: TlsConnector,
    _files: Scratch,
}

/// Starts it, with its files inside of `parent`.
pub(crate) async fn start(parent: Option<&Path>) -> Result<Broker, NoBroker> {
    let program = find("mosquitto").ok_or(NoBroker::Missing("mosquitto"))?;
    let openssl = find("openssl").ok_or(NoBroker::Missing("openssl"))?;
    let failed = |during| move |source| NoBroker::Io { during, source };
    let files = Scratch::new(parent).map_err(failed("make a directory"))?;
    make_certificate(&openssl, &files.0)?;
    let connector = connector(&files.0)?;
    let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    // Free now; should somebody else take it before Mosquitto does, that says so and ends.
    let address = TcpListener::bind(local).and_then(|listener| listener.local_addr());
    let address = address.map_err(failed("find a free port"))?;
    let configuration = files.0.join("mosquitto.conf");
    fs::write(&configuration, configure(&files.0, address)).map_err(failed("configure it"))?;
    let errors = fs::File::create(files.0.join("log")).map_err(failed("make a log"))?;
    let arguments = ["-c".to_owned(), configuration.display().to_string()];
    let process = Process::start(&program, &arguments, Stdio::from(errors));
    let process = process.map_err(failed("start it"))?;
    let broker = Broker { process, address, connector, _files: files };
    broker.wait().await?;
    Ok(broker)
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(PLACES.iter().map(PathBuf::from));
    places.map(|place| place.join(program)).find(|program| program.is_file())
}

/// A key and a certificate for one run, on the curve that is fastest.
fn make_certificate(openssl: &Path, files: &Path) -> Result<(), NoBroker> {
    let status = std::process::Command::new(openssl)
        .args(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2".split(' '),
        )
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-keyout", "key.pem", "-out", "certificate.pem"])
        .current_dir(files)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(NoBroker::Certificate),
        Err(source) => Err(NoBroker::Io { during: "start openssl", source }),
    }
}

fn connector(files: &Path) -> Result<TlsConnector, NoBroker> {
    let certificate = CertificateDer::from_pem_file(files.join("certificate.pem"));
    let mut roots = RootCertStore::empty();
    let trusted = certificate.is_ok_and(|certificate| roots.add(certificate).is_ok());
    let builder = ClientConfig::builder_with_provider(portolan_identity::provider())
        .with_protocol_versions(&[&rustls::version::TLS13]);
    match builder {
        Ok(builder) if trusted => {
            let config = builder.with_root_certificates(roots).with_no_client_auth();
            Ok(TlsConnector::from(Arc::new(config)))
        }
        Ok(_) | Err(_) => Err(NoBroker::Certificate),
    }
}

/// As few limits as ours has for a load; queues as long as a pause may need.
fn configure(files: &Path, address: SocketAddr) -> String {
    let files = files.display();
    format!(
        "listener {} {}\n\
         certfile {files}/certificate.pem\n\
         keyfile {files}/key.pem\n\
         tls_version tlsv1.3\n\
         allow_anonymous true\n\
         persistence true\n\
         persistence_location {files}/\n\
         max_inflight_messages 256\n\
         max_queued_messages 100000\n\
         set_tcp_nodelay true\n\
         log_type error\n\
         user root\n",
        address.port(),
        address.ip(),
    )
}

impl Broker {
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    async fn wait(&self) -> Result<(), NoBroker> {
        for _ in 0..ATTEMPTS {
            if TcpStream::connect(self.address).await.is_ok() {
                return Ok(());
            }
            sleep(BETWEEN_ATTEMPTS).await;
        }
        let log = fs::read_to_string(self._files.0.join("log")).unwrap_or_default();
        Err(NoBroker::Silent(log.lines().next().unwrap_or("it says nothing").to_owned()))
    }

    /// A client with a session that outlives its connection, which listens to `topic`.
    pub(crate) async fn connect(&self, number: usize, topic: Option<&str>) -> io::Result<Member> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::from(self.address.ip());
        let stream = self.connector.connect(name, stream).await?;
        let (read, write) = tokio::io::split(stream);
        let mut pipe = Pipe::new(read, write);
        let mut dialect = Mqtt::default();
        Mqtt::connect(&format!("load-{number}"), &mut pipe.out);
        expect(&mut pipe, &mut dialect, &Packet::Connected { code: 0 }).await?;
        if let Some(topic) = topic {
            Mqtt::subscribe(topic, &mut pipe.out);
            expect(&mut pipe, &mut dialect, &Packet::Subscribed { code: 1 }).await?;
        }
        Ok(Member { pipe, dialect: Box::new(dialect), _keep: Box::new(()) })
    }

    pub(crate) async fn end(self) {
        // It ends by a signal only, which dropping it sends.
        drop(self);
    }
}

async fn expect(pipe: &mut Pipe, dialect: &mut Mqtt, wanted: &Packet) -> io::Result<()> {
    loop {
        match dialect.next_packet().map_err(io::Error::other)? {
            Some(packet) if packet == *wanted => return Ok(()),
            Some(packet) => {
                return Err(io::Error::other(format!("{packet:?} instead of {wanted:?}")));
            }
            None if pipe.read(dialect.input(), READ_SIZE).await? == 0 => {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            None => {}
        }
    }
}
