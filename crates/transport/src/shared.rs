//! What the endpoints of one program share.

use std::{
    any::{Any, TypeId},
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

/// A place where transports of one program find each other's resources, by type.
///
/// The transports over UDP keep their sockets here, so that two of them bound to one address
/// share its port. Transports that share nothing ignore it. Clones are the same place.
#[derive(Clone, Default)]
pub struct Shared(Arc<Mutex<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>>);

impl Shared {
    /// The one `T` of this place, made at first use.
    #[must_use]
    pub fn get_or_default<T: Any + Send + Sync + Default>(&self) -> Arc<T> {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let value = map.entry(TypeId::of::<T>()).or_insert_with(|| Arc::new(T::default()));
        Arc::clone(value).downcast().unwrap_or_else(|_| unreachable!("keyed by its own type"))
    }

    /// Puts `value` here, unless there is a `T` already; answers the one that is here now.
    pub fn insert<T: Any + Send + Sync>(&self, value: T) -> Arc<T> {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let value = map.entry(TypeId::of::<T>()).or_insert_with(|| Arc::new(value));
        Arc::clone(value).downcast().unwrap_or_else(|_| unreachable!("keyed by its own type"))
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shared")
    }
}

#[cfg(test)]
mod tests {
    use super::Shared;

    #[test]
    fn what_is_put_in_first_is_what_everyone_finds() {
        let shared = Shared::default();
        shared.insert(7_u8);
        assert_eq!(*shared.get_or_default::<u8>(), 7);
        assert_eq!(*shared.insert(8_u8), 7, "the first stays");
        assert_eq!(*shared.get_or_default::<u16>(), 0, "another type is another place");
    }
}
