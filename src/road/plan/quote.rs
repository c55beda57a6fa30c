// SPDX-License-Identifier: GPL-3.0-or-later
//! Flags and variables of recipes as shell text, in which the build's own variables expand and nothing else does.

/// A variable in a flag that the build does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UnknownVariable(pub String);

/// `value` as one word of shell text: in double quotes, with `$NAME` and `${NAME}` left to the shell where
/// `known` says that the build has the variable, and everything else escaped. A dollar that no name follows
/// stands for itself.
pub(super) fn quote(value: &str, known: impl Fn(&str) -> bool) -> Result<String, UnknownVariable> {
    let mut quoted = String::with_capacity(value.len() + 2);
    quoted.push('"');
    let mut rest = value;
    while let Some(character) = rest.chars().next() {
        let after = &rest[character.len_utf8()..];
        let variable = if character == '$' {
            variable(after)
        } else {
            None
        };
        if let Some((name, length)) = variable {
            if !known(name) {
                return Err(UnknownVariable(name.to_owned()));
            }
            // Braces: what follows the name here may go on it there.
            quoted.push_str(&format!("${{{name}}}"));
            rest = &after[length..];
            continue;
        }
        if matches!(character, '"' | '`' | '\\' | '$') {
            quoted.push('\\');
        }
        quoted.push(character);
        rest = after;
    }
    quoted.push('"');
    Ok(quoted)
}

/// The variable's name at the start of `text`, which follows a dollar, and how long name and braces are.
fn variable(text: &str) -> Option<(&str, usize)> {
    let (inner, braces) = match text.strip_prefix('{') {
        Some(inner) => (inner, 2),
        None => (text, 0),
    };
    let continues = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let length = inner.bytes().take_while(|byte| continues(byte)).count();
    let name = &inner[..length];
    let starts_well = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    let closed = braces == 0 || inner[length..].starts_with('}');
    (starts_well && closed).then_some((name, length + braces))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn known(name: &str) -> bool {
        ["out", "input_gcc", "source_gmp"].contains(&name)
    }

    #[test]
    fn variables_of_the_build_stay_and_all_else_is_escaped() {
        let cases = [
            ("--prefix=$out", r#""--prefix=${out}""#),
            ("$out/lib:${input_gcc}", r#""${out}/lib:${input_gcc}""#),
            ("$outer", ""),
            ("a\"b`c\\d", r#""a\"b\`c\\d""#),
            ("$(id) $$ $ $1 $-", r#""\$(id) \$\$ \$ \$1 \$-""#),
            ("${out", r#""\${out""#),
            ("${out:-x}", r#""\${out:-x}""#),
            ("é $out", r#""é ${out}""#),
            ("", r#""""#),
        ];
        for (value, expected) in cases {
            match quote(value, known) {
                Ok(quoted) => assert_eq!(quoted, expected, "{value}"),
                Err(error) => assert_eq!((error.0.as_str(), expected), ("outer", "")),
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_shell_reads_back_any_text_without_variables(text in "[^\0a-zA-Z_{]{0,40}") {
            let quoted = quote(&text, known).unwrap();
            let output = std::process::Command::new("/bin/sh")
                .args(["-c", "eval \"set -- $words\"; printf %s/%s \"$#\" \"$1\""])
                .env("words", &quoted)
                .output()
                .unwrap();
            prop_assert_eq!(output.stdout, format!("1/{text}").into_bytes());
        }
    }
}
