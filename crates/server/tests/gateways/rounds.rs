//! Captures, replayed again and again.

use tokio::task::JoinSet;

/// Times that each is replayed.
const ROUNDS: usize = 10;

/// Each round has a server of its own, and they are beside each other.
pub(crate) async fn in_rounds<R>(round: impl Fn() -> R)
where
    R: Future<Output = ()> + Send + 'static,
{
    let mut rounds = JoinSet::new();
    for _ in 0..ROUNDS {
        rounds.spawn(round());
    }
    while let Some(round) = rounds.join_next().await {
        round.unwrap();
    }
}

/// A test for each capture, by the `replay` that stands where this is used.
macro_rules! captures {
    ($($name:ident: $gateway:literal, $file:literal;)+) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            let capture = include_str!(concat!("captures/", $file));
            crate::rounds::in_rounds(|| replay($gateway, capture)).await;
        }
    )+};
}
pub(crate) use captures;
