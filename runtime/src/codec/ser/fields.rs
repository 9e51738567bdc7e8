//! Encoding of the fields of tuples, structs and variants, in order.

use serde::ser::{
    Serialize, SerializeStruct, SerializeStructVariant, SerializeTuple, SerializeTupleStruct,
    SerializeTupleVariant,
};

use super::{EncodeError, EncodeLevel, EncodeResult};

macro_rules! tuples {
    ($($kind:ident::$method:ident: $write:ident,)*) => {$(
        impl $kind for EncodeLevel<'_, '_, '_> {
            type Ok = ();
            type Error = EncodeError;

            #[inline]
            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> EncodeResult {
                self.$write(value)
            }

            #[inline]
            fn end(self) -> EncodeResult {
                Ok(())
            }
        }
    )*};
}

tuples! {
    SerializeTuple::serialize_element: element,
    SerializeTupleStruct::serialize_field: field,
    SerializeTupleVariant::serialize_field: field,
}

macro_rules! structs {
    ($($kind:ident)*) => {$(
        impl $kind for EncodeLevel<'_, '_, '_> {
            type Ok = ();
            type Error = EncodeError;

            #[inline]
            fn serialize_field<T: Serialize + ?Sized>(&mut self, _: &'static str, value: &T) -> EncodeResult {
                self.field(value)
            }

            /// Called only for `skip_serializing_if`; the reader would take the next field for this one.
            #[cold]
            fn skip_field(&mut self, name: &'static str) -> EncodeResult {
                Err(EncodeError::new(format_args!(
                    "the field `{name}` was left out by `#[serde(skip_serializing_if)]`, and without names the reader \
                     could not tell; remove the attribute or use `#[serde(skip)]`"
                )))
            }

            #[inline]
            fn end(self) -> EncodeResult {
                Ok(())
            }
        }
    )*};
}

structs! { SerializeStruct SerializeStructVariant }
