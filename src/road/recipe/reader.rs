// SPDX-License-Identifier: GPL-3.0-or-later
//! Reading TOML values with their positions, collecting every problem instead of stopping at the first.

use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{RecipeError, RecipeProblem};
use super::files::Folder;
use super::model::{RecipeFile, RecipeText, is_item_name};

/// A table's value at its place.
pub(super) type Value<'i> = Spanned<DeValue<'i>>;
/// A key at its place.
pub(super) type Key<'i> = Spanned<std::borrow::Cow<'i, str>>;

/// One recipe's file, its folder, and what has been found wrong so far.
pub(super) struct RecipeReader<'a> {
    pub file: Arc<RecipeFile>,
    pub folder: &'a Folder,
    pub errors: Vec<RecipeError>,
    /// The files that recipe.toml has named.
    pub named: Vec<String>,
}

impl RecipeReader<'_> {
    /// Notes `problem` at `span`.
    pub fn report(&mut self, span: Range<usize>, problem: impl Into<RecipeProblem>) {
        self.errors.push(RecipeError {
            problem: problem.into(),
            file: Arc::clone(&self.file),
            span,
        });
    }

    /// Notes a key that `place` does not have.
    pub fn unknown(&mut self, key: &Key<'_>, place: &str, known: &[&'static str]) {
        let problem = RecipeProblem::UnknownKey {
            key: key.get_ref().to_string(),
            place: place.to_owned(),
            known: known.to_vec(),
        };
        self.report(key.span(), problem);
    }

    /// Notes a value of the wrong type.
    pub fn wrong_type(&mut self, key: &str, value: &Value<'_>, expected: &'static str) {
        let seen = match value.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) | DeValue::Float(_) => "a number",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        let problem = RecipeProblem::WrongType {
            key: key.to_owned(),
            seen,
            expected,
        };
        self.report(value.span(), problem);
    }

    /// `value` as a table.
    pub fn table<'v, 'i>(&mut self, key: &str, value: &'v Value<'i>) -> Option<&'v DeTable<'i>> {
        let table = value.get_ref().as_table();
        if table.is_none() {
            self.wrong_type(key, value, "a table");
        }
        table
    }

    /// `value` as text, with its place.
    pub fn text(&mut self, key: &str, value: &Value<'_>) -> Option<Spanned<String>> {
        let text = value.get_ref().as_str();
        if text.is_none() {
            self.wrong_type(key, value, "a string");
        }
        if text.is_some_and(|text| text.contains('\0')) {
            let key = key.to_owned();
            self.report(value.span(), RecipeProblem::Nul { key });
            return None;
        }
        Some(Spanned::new(value.span(), text?.to_owned()))
    }

    /// `value` as text that says something.
    pub fn filled_text(&mut self, key: &str, value: &Value<'_>) -> Option<String> {
        let text = self.text(key, value)?.into_inner();
        if text.trim().is_empty() {
            let key = key.to_owned();
            self.report(value.span(), RecipeProblem::Empty { key });
            return None;
        }
        Some(text)
    }

    /// `value` as part of a store item's name.
    pub fn item_name(&mut self, key: &str, value: &Value<'_>) -> Option<String> {
        let text = self.filled_text(key, value)?;
        if !is_item_name(&text) {
            self.report(value.span(), RecipeProblem::BadName { value: text });
            return None;
        }
        Some(text)
    }

    /// `value` as true or false.
    pub fn boolean(&mut self, key: &str, value: &Value<'_>) -> Option<bool> {
        let boolean = value.get_ref().as_bool();
        if boolean.is_none() {
            self.wrong_type(key, value, "true or false");
        }
        boolean
    }

    /// `value` as a number above zero; `expected` says so for an error, with its unit.
    pub fn count(&mut self, key: &str, value: &Value<'_>, expected: &'static str) -> Option<u64> {
        let number = value.get_ref().as_integer();
        let count = number.and_then(|number| {
            u64::from_str_radix(number.as_str(), number.radix())
                .ok()
                .filter(|count| *count > 0)
        });
        if count.is_none() {
            self.wrong_type(key, value, expected);
        }
        count
    }

    /// `value` as a list of texts, each with its place.
    pub fn texts(&mut self, key: &str, value: &Value<'_>) -> Vec<Spanned<String>> {
        let Some(array) = value.get_ref().as_array() else {
            self.wrong_type(key, value, "a list of strings");
            return Vec::new();
        };
        array
            .iter()
            .filter_map(|element| self.text(key, element))
            .collect()
    }

    /// The file of the recipe's folder that is called `name`.
    pub fn recipe_file(&mut self, name: &Spanned<String>) -> Option<RecipeText> {
        let file = name.get_ref();
        if !is_item_name(file) {
            let value = file.clone();
            self.report(name.span(), RecipeProblem::BadName { value });
            return None;
        }
        let Some(contents) = self.folder.get(file) else {
            let problem = RecipeProblem::MissingFile {
                file: file.clone(),
                present: self.folder.keys().cloned().collect(),
            };
            self.report(name.span(), problem);
            return None;
        };
        self.named.push(file.clone());
        Some(RecipeText {
            name: file.clone(),
            contents: contents.clone(),
        })
    }

    /// The files of the recipe's folder that the list `value` names.
    pub fn recipe_files(&mut self, key: &str, value: &Value<'_>) -> Vec<RecipeText> {
        self.texts(key, value)
            .iter()
            .filter_map(|name| self.recipe_file(name))
            .collect()
    }

    /// `value`, or a note that `place` (at `span`) lacks `key`.
    pub fn required<T>(
        &mut self,
        value: Field<T>,
        key: &'static str,
        place: &str,
        span: &Range<usize>,
    ) -> Option<T> {
        if matches!(value, Field::Absent) {
            let place = place.to_owned();
            self.report(span.clone(), RecipeProblem::MissingKey { key, place });
        }
        value.into_option()
    }
}

/// A key's value: one that is there but wrong has been reported, and is not missing as well.
#[derive(Debug, Clone, Default)]
pub(super) enum Field<T> {
    /// The key is not there.
    #[default]
    Absent,
    /// The key is there; its value was reported as wrong.
    Wrong,
    /// The value.
    Read(T),
}

impl<T> Field<T> {
    /// The value, where it was read.
    pub fn into_option(self) -> Option<T> {
        match self {
            Self::Read(value) => Some(value),
            Self::Absent | Self::Wrong => None,
        }
    }
}

impl<T> From<Option<T>> for Field<T> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Wrong, Self::Read)
    }
}
