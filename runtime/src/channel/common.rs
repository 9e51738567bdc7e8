//! The methods and traits that both public ends of a channel have.

/// Implements the methods and traits of an end that do not depend on its side. The end is a struct of a `ChannelEnd`, in
/// `end`, and of a `PhantomData`, in `of`.
macro_rules! channel_end {
    ($end:ident, $side:expr) => {
        impl<T> $end<T> {
            /// Returns the number of messages in the channel.
            pub fn len(&self) -> usize {
                self.end.ring().len()
            }

            /// Returns whether no message is in the channel.
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }

            /// Returns whether the channel is full.
            pub fn is_full(&self) -> bool {
                self.len() == self.capacity()
            }

            /// Returns the maximum number of messages in the channel.
            pub fn capacity(&self) -> usize {
                self.end.ring().capacity()
            }

            /// Returns whether both are ends of the same channel.
            pub fn same_channel(&self, other: &Self) -> bool {
                self.end.is_of_channel(&other.end)
            }
        }

        impl<T> Clone for $end<T> {
            fn clone(&self) -> Self {
                $end { end: self.end.clone(), of: PhantomData }
            }
        }

        impl<T> std::fmt::Debug for $end<T> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let (len, capacity) = (self.len(), self.capacity());
                f.debug_struct(stringify!($end))
                    .field("len", &len)
                    .field("capacity", &capacity)
                    .finish()
            }
        }

        impl<T> serde::Serialize for $end<T> {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                self.end.encode(to)
            }
        }

        impl<'de, T> serde::Deserialize<'de> for $end<T> {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                Ok($end { end: ChannelEnd::decode($side, from)?, of: PhantomData })
            }
        }
    };
}
pub(super) use channel_end;
