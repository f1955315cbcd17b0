//! The cryptography that everything is built with.

use std::sync::{Arc, OnceLock};

use rustls::{
    CipherSuite, SignatureScheme,
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms},
};

/// The provider of all cryptography here, always passed as a value: no process-wide default is
/// set or read, so that a program which embeds us keeps its own.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| {
        let mut provider = compiled_in();
        provider.cipher_suites.sort_by_key(|suite| preference(suite.suite()));
        Arc::new(provider)
    }))
}

#[cfg(feature = "aws-lc-rs")]
fn compiled_in() -> CryptoProvider {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    for suite in &mut provider.cipher_suites {
        *suite = crate::packet_keys::with_lean_keys(*suite);
    }
    provider
}

#[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
fn compiled_in() -> CryptoProvider {
    rustls::crypto::ring::default_provider()
}

/// AES-128 is a tenth cheaper than AES-256 and strong enough; QUIC's first packets need it too.
fn preference(suite: CipherSuite) -> u8 {
    match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => 0,
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => 1,
        _ => 2,
    }
}

/// Ed25519 and nothing else.
pub(crate) fn ed25519(provider: &CryptoProvider) -> WebPkiSupportedAlgorithms {
    let row = provider
        .signature_verification_algorithms
        .mapping
        .iter()
        .find(|(scheme, _)| *scheme == SignatureScheme::ED25519)
        .expect("both providers have Ed25519");
    WebPkiSupportedAlgorithms { all: row.1, mapping: std::slice::from_ref(row) }
}
