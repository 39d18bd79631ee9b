//! Names that people read.

use crate::limits::MAX_NAME;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Empty, or longer than [`MAX_NAME`].
    #[error("a name has 1 to {MAX_NAME} bytes, this one has {0}")]
    Length(usize),
    /// A control character stands in it (Unicode category Cc, which never changes).
    #[error("a name has no control characters")]
    Control,
    /// It is not UTF-8.
    #[error("a name is UTF-8")]
    NotUtf8,
}

/// Whether `name` may stand where a name of a group, a member or a peer stands: 1 to [`MAX_NAME`] bytes, no
/// control characters. Names are not unique, and say nothing about who somebody is.
///
/// # Errors
/// The rule that is broken.
pub fn check_name(name: &str) -> Result<(), NameError> {
    if name.is_empty() || name.len() > MAX_NAME {
        return Err(NameError::Length(name.len()));
    }
    if name.chars().any(char::is_control) {
        return Err(NameError::Control);
    }
    Ok(())
}

/// The name that these bytes are.
pub(crate) fn read_name(bytes: &[u8]) -> Result<String, NameError> {
    // The length first: what is too long is not looked through.
    if bytes.len() > MAX_NAME {
        return Err(NameError::Length(bytes.len()));
    }
    let name = std::str::from_utf8(bytes).map_err(|_| NameError::NotUtf8)?;
    check_name(name)?;
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_within_the_limits() {
        for name in ["a", "Ada Lovelace", "лес", "🦔", &"x".repeat(MAX_NAME)] {
            assert_eq!(read_name(name.as_bytes()).as_deref(), Ok(name));
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        assert_eq!(check_name(""), Err(NameError::Length(0)));
        assert_eq!(check_name(&"x".repeat(MAX_NAME + 1)), Err(NameError::Length(MAX_NAME + 1)));
        for name in ["a\nb", "\u{1b}[31m", "\u{85}", "\0"] {
            assert_eq!(check_name(name), Err(NameError::Control), "{name:?}");
        }
        assert_eq!(read_name(&[0xff]), Err(NameError::NotUtf8));
        assert_eq!(read_name(&[0xff; MAX_NAME + 1]), Err(NameError::Length(MAX_NAME + 1)));
    }
}
