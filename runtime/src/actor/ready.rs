//! The actors behind [`Dict`](crate::Dict), [`List`](crate::List) and [`Value`](crate::Value), which keep
//! encoded values.

#![allow(
    clippy::mutable_key_type,
    reason = "what is compared of a key are its bytes, which do not change"
)]

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::encoded::EncodedValue;
use super::number;

/// The value to which a number should be added is not a number of the same type.
const NO_NUMBER: &str = "it holds no number of this type";

#[derive(Default, Serialize, Deserialize)]
pub(super) struct RawDict {
    entries: HashMap<EncodedValue, EncodedValue>,
}

#[crate::actor]
impl RawDict {
    pub(super) fn insert(
        &mut self,
        key: EncodedValue,
        value: EncodedValue,
    ) -> Option<EncodedValue> {
        self.entries.insert(key, value)
    }

    pub(super) fn get(&self, key: EncodedValue) -> Option<EncodedValue> {
        self.entries.get(&key).cloned()
    }

    pub(super) fn remove(&mut self, key: EncodedValue) -> Option<EncodedValue> {
        self.entries.remove(&key)
    }

    pub(super) fn contains_key(&self, key: EncodedValue) -> bool {
        self.entries.contains_key(&key)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
    }

    pub(super) fn keys(&self) -> Vec<EncodedValue> {
        self.entries.keys().cloned().collect()
    }

    pub(super) fn snapshot(&self) -> Vec<(EncodedValue, EncodedValue)> {
        self.entries.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    pub(super) fn update(
        &mut self,
        key: EncodedValue,
        tag: u8,
        by: EncodedValue,
    ) -> Result<EncodedValue, String> {
        let sum = number::sum(tag, self.entries.get(&key), &by).ok_or(NO_NUMBER)??;
        self.entries.insert(key, sum.clone());
        Ok(sum)
    }
}

#[derive(Default, Serialize, Deserialize)]
pub(super) struct RawList {
    elements: Vec<EncodedValue>,
}

#[crate::actor]
impl RawList {
    pub(super) fn push(&mut self, element: EncodedValue) -> usize {
        self.elements.push(element);
        self.elements.len()
    }

    pub(super) fn extend(&mut self, elements: Vec<EncodedValue>) -> usize {
        self.elements.extend(elements);
        self.elements.len()
    }

    pub(super) fn pop(&mut self) -> Option<EncodedValue> {
        self.elements.pop()
    }

    pub(super) fn get(&self, index: usize) -> Option<EncodedValue> {
        self.elements.get(index).cloned()
    }

    pub(super) fn set(
        &mut self,
        index: usize,
        element: EncodedValue,
    ) -> Result<EncodedValue, usize> {
        let len = self.elements.len();
        let place = self.elements.get_mut(index).ok_or(len)?;
        Ok(std::mem::replace(place, element))
    }

    pub(super) fn len(&self) -> usize {
        self.elements.len()
    }

    pub(super) fn clear(&mut self) {
        self.elements.clear();
    }

    pub(super) fn snapshot(&self) -> Vec<EncodedValue> {
        self.elements.clone()
    }
}

#[derive(Default, Serialize, Deserialize)]
pub(super) struct RawValue {
    value: EncodedValue,
}

#[crate::actor]
impl RawValue {
    pub(super) fn get(&self) -> EncodedValue {
        self.value.clone()
    }

    pub(super) fn set(&mut self, value: EncodedValue) {
        self.value = value;
    }

    pub(super) fn replace(&mut self, value: EncodedValue) -> EncodedValue {
        std::mem::replace(&mut self.value, value)
    }

    pub(super) fn update(&mut self, tag: u8, by: EncodedValue) -> Result<EncodedValue, String> {
        let sum = number::sum(tag, Some(&self.value), &by).ok_or(NO_NUMBER)??;
        self.value = sum.clone();
        Ok(sum)
    }
}

impl RawValue {
    pub(super) fn new(value: EncodedValue) -> Self {
        RawValue { value }
    }
}
