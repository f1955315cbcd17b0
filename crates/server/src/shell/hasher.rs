//! The one thread that hashes passwords, so that it slows nobody else down.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::JoinHandle,
};

use argon2::{
    Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version, password_hash::phc,
};

use crate::{
    config::PasswordCost,
    core::{HashTask, Hashed, Token},
    store::PasswordHash,
};

/// The queue to the thread.
pub(super) struct Hasher {
    tasks: Option<SyncSender<(Token, HashTask)>>,
    thread: Option<JoinHandle<()>>,
}

impl Hasher {
    /// Starts the thread; it gives what it has computed to `done`. The core has at most `tasks_max`
    /// tasks under way.
    pub(super) fn start(
        cost: PasswordCost,
        tasks_max: usize,
        done: impl Fn(Token, Hashed) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (tasks, queue) = sync_channel(tasks_max.max(1));
        let thread = std::thread::Builder::new()
            .name("password-hasher".into())
            .spawn(move || work(&queue, cost, &done))?;
        Ok(Self { tasks: Some(tasks), thread: Some(thread) })
    }

    /// Queues a task; never waits, since the core keeps the bound.
    pub(super) fn push(&self, token: Token, task: HashTask) {
        if let Some(tasks) = &self.tasks
            && tasks.try_send((token, task)).is_err()
        {
            tracing::error!("a password was not hashed: the queue is full or its thread is gone");
        }
    }
}

impl Drop for Hasher {
    /// Nobody waits for what is still queued: the thread ends after the task it is at.
    fn drop(&mut self) {
        self.tasks = None;
        drop(self.thread.take());
    }
}

fn work(queue: &Receiver<(Token, HashTask)>, cost: PasswordCost, done: &dyn Fn(Token, Hashed)) {
    while let Ok((token, task)) = queue.recv() {
        done(token, carry_out(&task, cost));
    }
}

fn carry_out(task: &HashTask, cost: PasswordCost) -> Hashed {
    match task {
        HashTask::Make(password) => make(&password.0, cost),
        HashTask::Check { password, hash } => check(&password.0, hash),
    }
}

/// Argon2id (RFC 9106) with a fresh salt; the parameters stand in the hash.
fn make(password: &str, cost: PasswordCost) -> Hashed {
    let made = Params::new(cost.memory_kib, cost.passes, 1, None).map_err(|e| e.to_string());
    let made = made.and_then(|params| {
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password(password.as_bytes())
            .map_err(|error| error.to_string())
    });
    match made {
        Ok(hash) => Hashed::Made(PasswordHash(Arc::from(hash.to_string()))),
        Err(error) => Hashed::Failed(Arc::from(format!("a password could not be hashed: {error}"))),
    }
}

fn check(password: &str, hash: &PasswordHash) -> Hashed {
    let Ok(hash) = phc::PasswordHash::new(&hash.0) else {
        return Hashed::Failed(Arc::from("a password's hash cannot be read"));
    };
    match Argon2::default().verify_password(password.as_bytes(), &hash) {
        Ok(()) => Hashed::Right,
        Err(_) => Hashed::Wrong,
    }
}

#[cfg(test)]
mod tests {
    use portolan_protocol::Password;

    use super::{carry_out, make};
    use crate::{
        config::PasswordCost,
        core::{HashTask, Hashed},
        store::PasswordHash,
    };

    #[test]
    fn a_password_is_known_by_its_hash_whatever_the_cost_is_now() {
        let cost = PasswordCost { memory_kib: 64, passes: 1 };
        let Hashed::Made(hash) = make("correct horse", cost) else { panic!() };
        assert!(hash.0.starts_with("$argon2id$v=19$m=64,t=1,p=1$"));
        assert!(!format!("{hash:?}").contains("argon2id"), "a hash is printed nowhere");
        let check = |text: &str| {
            let password = Password(text.into());
            let task = HashTask::Check { password, hash: hash.clone() };
            carry_out(&task, PasswordCost::default())
        };
        assert_eq!(check("correct horse"), Hashed::Right);
        assert_eq!(check("correct hors"), Hashed::Wrong);
        let Hashed::Made(again) = make("correct horse", cost) else { panic!() };
        assert_ne!(again, hash, "each has a salt of its own");
    }

    #[test]
    fn a_hash_that_is_none_is_no_password() {
        let hash = PasswordHash("$argon2id$broken".into());
        let task = HashTask::Check { password: Password("x".into()), hash };
        assert!(matches!(carry_out(&task, PasswordCost::default()), Hashed::Failed(_)));
    }
}
