//! Whether a page is well-formed, and whole in itself.

/// Elements without an end.
const VOID: [&str; 4] = ["meta", "br", "hr", "img"];

/// Fails if the page is not well-formed HTML, or wants anything from elsewhere.
pub(crate) fn check(page: &str) {
    assert!(page.starts_with("<!DOCTYPE html>\n<html lang="), "{}", &page[..60]);
    balanced(page);
    // A name of a vocabulary is no address that is fetched.
    let rest = page.replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
    for outside in ["http:", "https:", " src=", "@import", "url(", "<link", "<iframe", "fetch(", "XMLHttp"] {
        assert!(!rest.contains(outside), "{outside}");
    }
    numbers(page);
    assert!(page.contains("name=\"viewport\"") && page.contains("@media print"));
}

/// The same of a drawing.
pub(crate) fn check_drawing(drawing: &str) {
    assert!(drawing.starts_with("<svg ") && drawing.contains("xmlns=\"http://www.w3.org/2000/svg\""));
    balanced(drawing);
    numbers(drawing);
}

fn numbers(text: &str) {
    for wrong in ["\"NaN", ",NaN", ">NaN", "\"inf", "\"-inf", ">inf", "2147483647", "-2147483648"] {
        assert!(!text.contains(wrong), "{wrong} in {}", around(text, text.find(wrong).unwrap_or(0)));
    }
}

fn around(text: &str, at: usize) -> String {
    text.chars().skip(text[..at].chars().count().saturating_sub(100)).take(250).collect()
}

/// Every element ends, in order; attributes are quoted; characters that mean something are written as entities.
fn balanced(text: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = text;
    let place = |rest: &str| around(text, text.len() - rest.len());
    while let Some(at) = rest.find('<') {
        plain(&rest[..at], &place(rest));
        rest = &rest[at..];
        let end = rest.find('>').unwrap_or_else(|| panic!("no end of {}", place(rest)));
        let tag = &rest[1..end];
        let here = place(rest);
        rest = &rest[end + 1..];
        if tag.starts_with('!') {
            continue;
        }
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "{here}");
            continue;
        }
        let name = tag.split([' ', '/', '\n']).next().unwrap_or_default();
        assert!(!name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric()), "{here}");
        attributes(tag[name.len()..].trim_end_matches('/').trim(), &here);
        if !tag.ends_with('/') && !VOID.contains(&name) {
            open.push(name);
        }
        if name == "script" || name == "style" {
            // Text up to the end of the element.
            let end = rest.find(&format!("</{name}")).unwrap_or_else(|| panic!("{here}"));
            assert!(!rest[..end].contains("<!--"), "{here}");
            rest = &rest[end..];
        }
    }
    plain(rest, "the end");
    assert!(open.is_empty(), "{open:?}");
}

fn attributes(mut rest: &str, here: &str) {
    while !rest.is_empty() {
        let (name, after) = rest.split_once("=\"").unwrap_or_else(|| panic!("{rest}: {here}"));
        assert!(name.trim().chars().all(|c| c.is_ascii_alphanumeric() || c == '-'), "{name}: {here}");
        let (value, after) = after.split_once('"').unwrap_or_else(|| panic!("{rest}: {here}"));
        plain(value, here);
        rest = after.trim_start();
    }
}

fn plain(text: &str, here: &str) {
    for (at, _) in text.match_indices('&') {
        let name: String = text[at + 1..].chars().take_while(|c| *c != ';').take(8).collect();
        assert!(["amp", "lt", "gt", "quot", "apos", "#39"].contains(&name.as_str()), "&{name}: {here}");
    }
    assert!(!text.contains('>'), "{here}");
}
