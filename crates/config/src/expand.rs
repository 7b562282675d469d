//! Expansion of `${NAME}` and `${NAME:-default}` in the strings of a configuration file.

/// Returns the value of an environment variable. It is an argument so that tests need not change the
/// environment.
pub(crate) type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A part of an expanded string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    Plain(String),
    /// The value of a variable.
    Value(String),
}

/// Splits a string into literal text and the values of its variables. `$${` is a literal `${`.
pub(crate) fn expand(text: &str, env: Env<'_>) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            plain.push_str(&rest[..at - 1]);
            plain.push_str("${");
            rest = &rest[at + 2..];
            continue;
        }
        plain.push_str(&rest[..at]);
        let inner = &rest[at + 2..];
        let end = inner.find('}').ok_or("`${` has no closing `}`; write `$${` for a literal `${`")?;
        let (name, default) = match inner[..end].split_once(":-") {
            Some((name, default)) => (name, Some(default.to_owned())),
            None => (&inner[..end], None),
        };
        let secret = name.strip_prefix("secret:");
        let is_name = match secret {
            Some(name) => is_secret(name),
            None => {
                !name.is_empty()
                    && !name.starts_with(|c: char| c.is_ascii_digit())
                    && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            }
        };
        if !is_name {
            return Err(format!("`{name}` is not a valid name of an environment variable"));
        }
        if secret.is_some() && default.is_some() {
            return Err("a secret cannot have a default; remove the `:-` and what follows".into());
        }
        let set = env(name).filter(|value| default.is_none() || !value.is_empty());
        let value = set.or(default).ok_or_else(|| match secret {
            Some(name) => {
                format!("unknown secret `{name}`; `${{secret:...}}` is for cameras of the registry only")
            }
            None => format!(
                "the environment variable {name} is not set; set it, or give a default with `${{{name}:-...}}`"
            ),
        })?;
        pieces.push(Piece::Plain(std::mem::take(&mut plain)));
        pieces.push(Piece::Value(value));
        rest = &inner[end + 1..];
    }
    plain.push_str(rest);
    pieces.push(Piece::Plain(plain));
    Ok(pieces)
}

/// Returns whether `name` is a valid name of a secret. A valid name cannot refer to a file outside the
/// secrets folder.
fn is_secret(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// Concatenates the pieces.
pub(crate) fn join(pieces: Vec<Piece>) -> String {
    pieces
        .into_iter()
        .map(|piece| match piece {
            Piece::Plain(text) | Piece::Value(text) => text,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn expanded(text: &str) -> Result<String, String> {
        expand(text, &|name| match name {
            "A" | "secret:a-b.c" => Some("1".into()),
            "EMPTY" => Some(String::new()),
            _ => None,
        })
        .map(join)
    }

    #[test]
    fn expands_variables_and_defaults() {
        for (text, want) in [
            ("x", "x"),
            ("${A}", "1"),
            ("${secret:a-b.c}", "1"),
            ("a${A}b${A}", "a1b1"),
            ("${B:-2}", "2"),
            ("${B:-}", ""),
            ("${A:-2}", "1"),
            ("${EMPTY:-2}", "2"),
            ("${EMPTY}", ""),
            ("$A $${A} $", "$A ${A} $"),
        ] {
            assert_eq!(expanded(text).as_deref(), Ok(want), "{text}");
        }
        for text in [
            "${B}",
            "${",
            "${}",
            "${1}",
            "${a b}",
            "${secret:}",
            "${secret:../x}",
            "${secret:b}",
            "${secret:a-b.c:-1}",
        ] {
            assert!(expanded(text).is_err(), "{text}");
        }
    }

    #[test]
    fn does_not_expand_values() {
        assert_eq!(expand("${X}", &|_| Some("${X}".into())).map(join).as_deref(), Ok("${X}"));
    }

    proptest! {
        #[test]
        fn handles_any_text(text in ".*") {
            let _ = expanded(&text);
        }
    }
}
