//! What the handshake proves, over an in-memory byte stream and in QUIC's form.

#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::{sync::Arc, time::Duration};

use data_encoding::BASE64;
use portolan_identity::{
    Alpn, Expect, Identity, PeerId, RemoteKeyError, WrongProtocol, is_wrong_peer, provider,
    remote_id, verify,
};
use rustls::{
    CertificateError, ClientConfig, Error, HandshakeKind, ServerConfig,
    client::AlwaysResolvesClientRawPublicKeys,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName},
    quic,
    server::AlwaysResolvesServerRawPublicKeys,
    sign::CertifiedKey,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

const PATIENCE: Duration = Duration::from_secs(30);

/// A P-256 key made for this test.
const P256: &str = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgpRPTaYoVizRzIehh1l6x26Bg005MfUqmzNVbRFMTuF2hRANCAAR2/1JN2HlwA102olF6v8CcLRh5ZbZGgBzZEI3A3HZaBqqkmeAZkjzgIurcKvxISoxzLFocSXcgy9Nvb0Yqpez4";

fn alice() -> Identity {
    Identity::from_seed([1; 32])
}

fn bob() -> Identity {
    Identity::from_seed([2; 32])
}

type Outcome<T> = Result<T, Error>;
type Pipe = tokio::io::DuplexStream;

/// Both sides' ends of one handshake; a byte from the server brings the session tickets along.
async fn meet(
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
    name: ServerName<'static>,
) -> (Outcome<client::TlsStream<Pipe>>, Outcome<server::TlsStream<Pipe>>) {
    let (near, far) = duplex(1 << 16);
    let dial = async {
        let mut tls = TlsConnector::from(client)
            .connect(name, near)
            .await
            .map_err(|error| tls_error(&error))?;
        // A server refuses a client only after the client believes that all is well.
        tls.read_u8().await.map_err(|error| tls_error(&error))?;
        Ok(tls)
    };
    let answer = async {
        let mut tls =
            TlsAcceptor::from(server).accept(far).await.map_err(|error| tls_error(&error))?;
        tls.write_u8(7).await.map_err(|error| tls_error(&error))?;
        tls.flush().await.map_err(|error| tls_error(&error))?;
        Ok(tls)
    };
    tokio::time::timeout(PATIENCE, async { tokio::join!(dial, answer) }).await.unwrap()
}

fn tls_error(error: &std::io::Error) -> Error {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    inner.cloned().unwrap_or_else(|| Error::General(error.to_string()))
}

#[tokio::test]
async fn both_sides_learn_the_proved_key() {
    for alpn in Alpn::ALL {
        let name = Expect::Id(bob().id()).server_name();
        let (dialled, answered) =
            meet(alice().client_config(alpn), bob().server_config(alpn), name).await;
        let (dialled, answered) = (dialled.unwrap(), answered.unwrap());
        assert_eq!(remote_id(dialled.get_ref().1.peer_certificates()), Ok(bob().id()));
        assert_eq!(remote_id(answered.get_ref().1.peer_certificates()), Ok(alice().id()));
        assert_eq!(alpn.confirm(dialled.get_ref().1.alpn_protocol()), Ok(()));
        assert_eq!(answered.get_ref().1.server_name(), None, "the wanted key travelled in clear");
    }
}

#[tokio::test]
async fn whoever_expects_anyone_meets_anyone() {
    let client = alice().client_config(Alpn::Tcp);
    let (dialled, answered) =
        meet(client, bob().server_config(Alpn::Tcp), Expect::Any.server_name()).await;
    assert_eq!(remote_id(dialled.unwrap().get_ref().1.peer_certificates()), Ok(bob().id()));
    answered.unwrap();
}

#[tokio::test]
async fn a_server_with_another_key_is_refused() {
    let carol = Identity::from_seed([3; 32]);
    let name = Expect::Id(carol.id()).server_name();
    let (dialled, answered) =
        meet(alice().client_config(Alpn::Tcp), bob().server_config(Alpn::Tcp), name).await;
    assert!(is_wrong_peer(&dialled.unwrap_err()));
    assert!(!is_wrong_peer(&answered.unwrap_err()), "only the refusing side knows why");
}

#[tokio::test]
async fn a_name_that_is_no_key_is_refused() {
    let name = ServerName::try_from("example.org").unwrap();
    let (dialled, _) =
        meet(alice().client_config(Alpn::Tcp), bob().server_config(Alpn::Tcp), name).await;
    assert!(dialled.is_err());
}

#[tokio::test]
async fn protocols_do_not_mix() {
    for (ours, theirs) in [(Alpn::Tcp, Alpn::EndToEnd), (Alpn::EndToEnd, Alpn::Udp)] {
        let name = Expect::Id(bob().id()).server_name();
        let (dialled, answered) =
            meet(alice().client_config(ours), bob().server_config(theirs), name).await;
        assert!(matches!(dialled, Err(Error::AlertReceived(_))), "{dialled:?}");
        assert_eq!(answered.unwrap_err(), Error::NoApplicationProtocol);
    }
}

#[tokio::test]
async fn a_client_without_a_protocol_is_refused() {
    let mut client = (*alice().client_config(Alpn::Tcp)).clone();
    client.alpn_protocols.clear();
    let name = Expect::Id(bob().id()).server_name();
    let (dialled, answered) = meet(Arc::new(client), bob().server_config(Alpn::Tcp), name).await;
    assert!(dialled.is_err());
    assert!(answered.is_err());
}

#[tokio::test]
async fn a_server_without_a_protocol_is_found_by_the_client() {
    let mut server = (*bob().server_config(Alpn::Tcp)).clone();
    server.alpn_protocols.clear();
    let name = Expect::Id(bob().id()).server_name();
    let (dialled, _) = meet(alice().client_config(Alpn::Tcp), Arc::new(server), name).await;
    let dialled = dialled.unwrap();
    let confirmed: Result<(), WrongProtocol> =
        Alpn::Tcp.confirm(dialled.get_ref().1.alpn_protocol());
    assert!(confirmed.is_err());
}

#[tokio::test]
async fn a_resumed_connection_keeps_the_identity() {
    let (alice, bob) = (alice(), bob());
    for kind in [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Resumed] {
        let name = Expect::Id(bob.id()).server_name();
        let (dialled, answered) =
            meet(alice.client_config(Alpn::Tcp), bob.server_config(Alpn::Tcp), name).await;
        let (dialled, answered) = (dialled.unwrap(), answered.unwrap());
        assert_eq!(dialled.get_ref().1.handshake_kind(), Some(kind));
        assert_eq!(remote_id(dialled.get_ref().1.peer_certificates()), Ok(bob.id()));
        assert_eq!(remote_id(answered.get_ref().1.peer_certificates()), Ok(alice.id()));
    }
}

#[tokio::test]
async fn a_session_with_one_peer_opens_no_door_at_another() {
    let (alice, carol) = (alice(), Identity::from_seed([3; 32]));
    let any = Expect::Any.server_name();
    let first = meet(alice.client_config(Alpn::Tcp), bob().server_config(Alpn::Tcp), any.clone());
    first.await.0.unwrap();
    let (dialled, answered) =
        meet(alice.client_config(Alpn::Tcp), carol.server_config(Alpn::Tcp), any).await;
    let dialled = dialled.unwrap();
    answered.unwrap();
    assert_eq!(dialled.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
    assert_eq!(remote_id(dialled.get_ref().1.peer_certificates()), Ok(carol.id()));
}

fn p256() -> Arc<CertifiedKey> {
    let der = BASE64.decode(P256.as_bytes()).unwrap();
    let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(der));
    let key = provider().key_provider.load_private_key(der).unwrap();
    let spki = key.public_key().unwrap().to_vec();
    Arc::new(CertifiedKey::new(vec![CertificateDer::from(spki)], key))
}

#[tokio::test]
async fn keys_of_another_kind_are_refused() {
    let mut client = (*alice().client_config(Alpn::Tcp)).clone();
    client.client_auth_cert_resolver = Arc::new(AlwaysResolvesClientRawPublicKeys::new(p256()));
    let mut server = (*bob().server_config(Alpn::Tcp)).clone();
    server.cert_resolver = Arc::new(AlwaysResolvesServerRawPublicKeys::new(p256()));
    let any = Expect::Any.server_name();
    let (_, answered) = meet(Arc::new(client), bob().server_config(Alpn::Tcp), any.clone()).await;
    assert!(answered.is_err());
    let (dialled, _) = meet(alice().client_config(Alpn::Tcp), Arc::new(server), any).await;
    assert!(dialled.is_err());
    assert_eq!(remote_id(Some(&p256().cert)), Err(RemoteKeyError::NotEd25519));
}

#[test]
fn what_is_not_one_ed25519_key_is_no_id() {
    assert_eq!(remote_id(None), Err(RemoteKeyError::Missing));
    assert_eq!(remote_id(Some(&[])), Err(RemoteKeyError::Missing));
    for length in [0, 11, 12, 43, 45, 400] {
        let shown = [CertificateDer::from(vec![0x30; length])];
        assert_eq!(remote_id(Some(&shown)), Err(RemoteKeyError::NotEd25519));
    }
    let other = Error::InvalidCertificate(CertificateError::BadEncoding);
    assert!(!is_wrong_peer(&other));
}

#[test]
fn a_signature_fits_one_message_and_one_key() {
    let (alice, bob) = (alice(), bob());
    let signature = alice.sign(b"hello");
    assert_eq!(verify(&alice.id(), b"hello", &signature), Ok(()));
    assert!(verify(&alice.id(), b"hullo", &signature).is_err());
    assert!(verify(&bob.id(), b"hello", &signature).is_err());
    assert!(verify(&alice.id(), b"hello", &signature[..63]).is_err());
    assert!(verify(&PeerId::from_bytes([0xff; 32]), b"hello", &signature).is_err());
}

#[test]
fn the_public_key_is_the_one_of_rfc_8032() {
    // RFC 8032 §7.1, test 1.
    let seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
    let public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    let hex = |text: &str| data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap();
    let identity = Identity::from_seed(hex(seed).try_into().unwrap());
    assert_eq!(identity.id().as_bytes().as_slice(), hex(public));
}

#[test]
fn debug_shows_the_id_and_nothing_else() {
    let identity = Identity::from_seed([0xab; 32]);
    assert_eq!(format!("{identity:?}"), format!("Identity({})", identity.id()));
    assert_ne!(Identity::generate().id(), Identity::generate().id());
}

/// The shape that our own UDP protocol drives by hand and that quinn wraps.
#[test]
fn the_configurations_serve_quic() {
    let params = b"parameters".to_vec();
    let name = Expect::Id(bob().id()).server_name();
    let client = alice().client_config(Alpn::Udp);
    let server = bob().server_config(Alpn::Udp);
    let mut client =
        quic::ClientConnection::new(client, quic::Version::V2, name, params.clone()).unwrap();
    let mut server = quic::ServerConnection::new(server, quic::Version::V2, params).unwrap();
    for _ in 0..20 {
        let mut flight = Vec::new();
        client.write_hs(&mut flight);
        server.read_hs(&flight).unwrap();
        flight.clear();
        server.write_hs(&mut flight);
        client.read_hs(&flight).unwrap();
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    assert_eq!(remote_id(client.peer_certificates()), Ok(bob().id()));
    assert_eq!(remote_id(server.peer_certificates()), Ok(alice().id()));
}
