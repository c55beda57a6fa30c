// SPDX-License-Identifier: GPL-3.0-or-later
//! The environment of a derivation: byte strings by name, which callers look up by text.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut, Index};

use bstr::{BStr, BString, ByteSlice};

/// Variables by name, in the order of the `.drv` format. Names and values are bytes that need not be UTF-8.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Environment(BTreeMap<BString, BString>);

impl Environment {
    /// The value of `name`, where it is set.
    pub fn get(&self, name: &str) -> Option<&BStr> {
        self.0.get(name.as_bytes()).map(|value| value.as_bstr())
    }

    /// The value of `name` as text; `None` also where the value is not UTF-8.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name.as_bytes())?.to_str().ok()
    }

    /// Whether `name` is set.
    pub fn contains_key(&self, name: &str) -> bool {
        self.0.contains_key(name.as_bytes())
    }

    /// Sets `name` to `value` and returns the earlier value.
    pub fn insert(
        &mut self,
        name: impl Into<BString>,
        value: impl Into<BString>,
    ) -> Option<BString> {
        self.0.insert(name.into(), value.into())
    }

    /// Unsets `name` and returns its value.
    pub fn remove(&mut self, name: &str) -> Option<BString> {
        self.0.remove(name.as_bytes())
    }
}

impl Deref for Environment {
    type Target = BTreeMap<BString, BString>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Environment {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

/// The value of a variable that is set.
impl Index<&str> for Environment {
    type Output = BString;

    fn index(&self, name: &str) -> &BString {
        &self.0[name.as_bytes()]
    }
}

impl<Name: Into<BString>, Value: Into<BString>> FromIterator<(Name, Value)> for Environment {
    fn from_iter<Variables: IntoIterator<Item = (Name, Value)>>(variables: Variables) -> Self {
        let mut environment = Self::default();
        environment.extend(variables);
        environment
    }
}

impl<Name: Into<BString>, Value: Into<BString>> Extend<(Name, Value)> for Environment {
    fn extend<Variables: IntoIterator<Item = (Name, Value)>>(&mut self, variables: Variables) {
        for (name, value) in variables {
            self.insert(name, value);
        }
    }
}

impl<Name: Into<BString>, Value: Into<BString>, const N: usize> From<[(Name, Value); N]>
    for Environment
{
    fn from(variables: [(Name, Value); N]) -> Self {
        variables.into_iter().collect()
    }
}

impl IntoIterator for Environment {
    type Item = (BString, BString);
    type IntoIter = std::collections::btree_map::IntoIter<BString, BString>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'e> IntoIterator for &'e Environment {
    type Item = (&'e BString, &'e BString);
    type IntoIter = std::collections::btree_map::Iter<'e, BString, BString>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl<'e> IntoIterator for &'e mut Environment {
    type Item = (&'e BString, &'e mut BString);
    type IntoIter = std::collections::btree_map::IterMut<'e, BString, BString>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_are_not_utf_8_are_kept_and_are_not_text() {
        let mut environment = Environment::from([("a", "1")]);
        environment.insert(b"caf\xe9".as_slice(), b"\xff".as_slice());
        environment.insert("b", b"\xff".as_slice());
        assert_eq!(environment.text("a"), Some("1"));
        assert_eq!(environment.text("b"), None);
        assert_eq!(environment.get("b"), Some(BStr::new(b"\xff")));
        assert_eq!(environment.len(), 3);
        assert_eq!(environment.remove("a"), Some("1".into()));
        assert!(!environment.contains_key("a"));
    }
}
