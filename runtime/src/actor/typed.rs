//! The common methods and traits of [`Dict`](crate::Dict), [`List`](crate::List) and [`Value`](crate::Value).
//!
//! Each of these types is the proxy of an actor that keeps encoded values, together with the types of the
//! values.

/// Implements the methods and traits that all of them have. `$name` wraps a `$proxy` in its field `proxy`.
macro_rules! typed {
    ($name:ident<$($param:ident),+>, $proxy:ident) => {
        impl<$($param),+> $name<$($param),+> {
            /// Returns a handle whose calls fail with [`ErrorKind::TimedOut`](crate::ErrorKind::TimedOut) if
            /// they take longer than `time`.
            pub fn with_timeout(&self, time: std::time::Duration) -> Self {
                Self::new(self.proxy.with_timeout(time))
            }

            /// Returns whether the process of the manager is still running.
            pub fn is_alive(&self) -> bool {
                self.proxy.is_alive()
            }

            pub(super) fn new(proxy: $proxy) -> Self {
                $name { proxy, of: std::marker::PhantomData }
            }
        }

        impl<$($param),+> Clone for $name<$($param),+> {
            fn clone(&self) -> Self {
                Self::new(self.proxy.clone())
            }
        }

        impl<$($param),+> std::fmt::Debug for $name<$($param),+> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_tuple(stringify!($name)).field(&self.proxy).finish()
            }
        }

        impl<$($param),+> serde::Serialize for $name<$($param),+> {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                serde::Serialize::serialize(&self.proxy, to)
            }
        }

        impl<'de, $($param),+> serde::Deserialize<'de> for $name<$($param),+> {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                <$proxy as serde::Deserialize>::deserialize(from).map(Self::new)
            }
        }
    };
}

/// Implements the methods of the types that contain any number of values, named `$values` in the
/// documentation.
macro_rules! typed_collection {
    ($name:ident<$($param:ident),+>, $values:literal) => {
        impl<$($param),+> $name<$($param),+> {
            #[doc = concat!("Returns the number of ", $values, ".")]
            ///
            /// # Errors
            ///
            /// Returns the errors of every call; see [`Manager`](crate::Manager#failures).
            pub fn len(&self) -> $crate::Result<usize> {
                self.proxy.len()
            }

            #[doc = concat!("Returns whether there are no ", $values, ".")]
            ///
            /// # Errors
            ///
            /// Returns the errors of every call; see [`Manager`](crate::Manager#failures).
            pub fn is_empty(&self) -> $crate::Result<bool> {
                self.len().map(|len| len == 0)
            }

            #[doc = concat!("Removes all ", $values, ".")]
            ///
            /// # Errors
            ///
            /// Returns the errors of every call; see [`Manager`](crate::Manager#failures).
            pub fn clear(&self) -> $crate::Result<()> {
                self.proxy.clear()
            }
        }
    };
}

pub(super) use {typed, typed_collection};
