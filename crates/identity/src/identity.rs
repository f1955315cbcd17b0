//! A peer's key pair and the TLS configurations made from it.

use std::{
    fmt,
    path::Path,
    sync::{Arc, OnceLock},
};

use rustls::{
    ClientConfig, KeyLog, ServerConfig, SignatureScheme,
    client::AlwaysResolvesClientRawPublicKeys,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    server::{ClientHello, ResolvesServerCert, ServerSessionMemoryCache},
    sign::{CertifiedKey, SigningKey},
    version::TLS13,
};
use zeroize::Zeroizing;

use crate::{
    Alpn, KeyFileError, KeyLogFile, PeerId, key_file, provider::provider, public_key::from_spki,
    verifier::RawKeyVerifier,
};

/// What comes before the 32 bytes of an Ed25519 seed in PKCS#8 (RFC 8410 §7).
const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

/// Sessions that one server configuration remembers for resumption; one a handshake.
const SERVER_SESSIONS: usize = 4096;

pub(crate) type Seed = Zeroizing<[u8; 32]>;

/// A peer's key pair. Clones are cheap and share the key.
///
/// `Debug` prints the public key only.
#[derive(Clone)]
pub struct Identity(Arc<Inner>);

struct Inner {
    id: PeerId,
    certified: Arc<CertifiedKey>,
    provider: Arc<CryptoProvider>,
    verifier: Arc<RawKeyVerifier>,
    key_log: Option<Arc<dyn KeyLog>>,
    clients: [OnceLock<Arc<ClientConfig>>; Alpn::ALL.len()],
    servers: [OnceLock<Arc<ServerConfig>>; Alpn::ALL.len()],
}

impl Identity {
    /// Makes a new key from the system's randomness.
    ///
    /// # Panics
    /// When the system has no randomness to give, without which nothing here is safe.
    #[must_use]
    pub fn generate() -> Self {
        Self::from_secret(&new_seed())
    }

    /// Makes the key that belongs to `seed`: for tests, where runs must repeat.
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self::from_secret(&Zeroizing::new(seed))
    }

    /// Reads the key file at `path`, or makes a key and writes it there.
    ///
    /// The file is created whole or not at all, readable by its owner only. Of two programs that
    /// create it at once, both end with the same key.
    ///
    /// # Errors
    /// [`KeyFileError`] when the file is damaged, readable by others, or cannot be read or made.
    pub fn load_or_create(path: &Path) -> Result<Self, KeyFileError> {
        key_file::load_or_create(path)
    }

    /// The public key: who this is.
    #[must_use]
    pub fn id(&self) -> PeerId {
        self.0.id
    }

    /// Signs `message`; anyone can check it with [`verify`](crate::verify).
    ///
    /// The message should begin with a text that says what it is for, so that a signature made
    /// for one purpose is worth nothing for another.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        let signer = self.0.certified.key.choose_scheme(&[SignatureScheme::ED25519]);
        let signature = signer.expect("an Ed25519 key").sign(message);
        let signature = signature.expect("Ed25519 signs any message");
        signature.try_into().expect("64 bytes (RFC 8032 §5.1.6)")
    }

    /// The configuration of clients that speak `alpn`; always the same one, so that sessions are
    /// resumed.
    #[must_use]
    pub fn client_config(&self, alpn: Alpn) -> Arc<ClientConfig> {
        let config = self.0.clients[alpn.index()].get_or_init(|| Arc::new(self.new_client(alpn)));
        Arc::clone(config)
    }

    /// The configuration of servers that speak `alpn`; always the same one.
    ///
    /// It accepts every remote that proves an Ed25519 key and names `alpn`.
    #[must_use]
    pub fn server_config(&self, alpn: Alpn) -> Arc<ServerConfig> {
        let config = self.0.servers[alpn.index()].get_or_init(|| Arc::new(self.new_server(alpn)));
        Arc::clone(config)
    }

    /// The same key, with configurations that write the secrets of every connection into `file`:
    /// who can read it can read and forge all that is said. For looking at packets, never for
    /// anything else.
    #[must_use]
    pub fn with_key_log(&self, file: KeyLogFile) -> Self {
        Self(Arc::new(Inner {
            id: self.0.id,
            certified: Arc::clone(&self.0.certified),
            provider: Arc::clone(&self.0.provider),
            verifier: Arc::clone(&self.0.verifier),
            key_log: Some(Arc::new(file)),
            clients: Default::default(),
            servers: Default::default(),
        }))
    }

    pub(crate) fn from_secret(seed: &Seed) -> Self {
        let provider = provider();
        let key = signing_key(&provider, seed);
        let spki = key.public_key().expect("an Ed25519 key has a public half");
        let id = from_spki(spki.as_ref()).expect("44 bytes as RFC 8410 has them");
        let shown = vec![CertificateDer::from(spki.to_vec())];
        Self(Arc::new(Inner {
            id,
            certified: Arc::new(CertifiedKey::new(shown, key)),
            verifier: Arc::new(RawKeyVerifier::new(&provider)),
            provider,
            key_log: None,
            clients: Default::default(),
            servers: Default::default(),
        }))
    }

    fn new_client(&self, alpn: Alpn) -> ClientConfig {
        let resolver = AlwaysResolvesClientRawPublicKeys::new(Arc::clone(&self.0.certified));
        let verifier = Arc::clone(&self.0.verifier);
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&self.0.provider))
            .with_protocol_versions(&[&TLS13])
            .expect("both providers have TLS 1.3")
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_cert_resolver(Arc::new(resolver));
        // The name is the expected key and would travel in clear.
        config.enable_sni = false;
        config.alpn_protocols = vec![alpn.as_str().into()];
        if let Some(log) = &self.0.key_log {
            config.key_log = Arc::clone(log);
        }
        config
    }

    fn new_server(&self, alpn: Alpn) -> ServerConfig {
        let verifier = Arc::clone(&self.0.verifier);
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.0.provider))
            .with_protocol_versions(&[&TLS13])
            .expect("both providers have TLS 1.3")
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(OnlyWithAlpn(Arc::clone(&self.0.certified))));
        config.alpn_protocols = vec![alpn.as_str().into()];
        // A client uses one at a time, and gets another with each connection.
        config.send_tls13_tickets = 1;
        config.session_storage = ServerSessionMemoryCache::new(SERVER_SESSIONS);
        // 0-RTT can be replayed by anyone who saw it; rustls::quic takes 0 or u32::MAX only.
        config.max_early_data_size = 0;
        if let Some(log) = &self.0.key_log {
            config.key_log = Arc::clone(log);
        }
        config
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.0.id)
    }
}

/// Shows our key to clients that name a protocol; rustls refuses those that name another one,
/// but outside QUIC it lets pass those that name none.
#[derive(Debug)]
struct OnlyWithAlpn(Arc<CertifiedKey>);

impl ResolvesServerCert for OnlyWithAlpn {
    fn resolve(&self, client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        client_hello.alpn().is_some().then(|| Arc::clone(&self.0))
    }

    fn only_raw_public_keys(&self) -> bool {
        true
    }
}

pub(crate) fn new_seed() -> Seed {
    let mut seed = Zeroizing::new([0; 32]);
    provider().secure_random.fill(&mut *seed).expect("the system gives random bytes");
    seed
}

fn signing_key(provider: &CryptoProvider, seed: &Seed) -> Arc<dyn SigningKey> {
    let mut der = Zeroizing::new([0; PKCS8_PREFIX.len() + 32]);
    der[..PKCS8_PREFIX.len()].copy_from_slice(&PKCS8_PREFIX);
    der[PKCS8_PREFIX.len()..].copy_from_slice(&**seed);
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(der.to_vec()));
    provider.key_provider.load_private_key(key).expect("every 32 bytes are an Ed25519 seed")
}
