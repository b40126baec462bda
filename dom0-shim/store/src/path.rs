//! Paths of nodes: `/` and names between slashes, or `@` and the name of a special event.
//!
//! Rules of `docs/misc/xenstore.txt`: letters, digits and `-/_@`; no empty name, no slash
//! at the end, no more than [`ABS_PATH_MAX`] bytes, [`REL_PATH_MAX`] where the client
//! leaves the directory of its domain out.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use core::borrow::Borrow;
use core::fmt;

use xen_abi::RawDomid;
use xen_abi::errno::Errno;
use xen_abi::io::xs_wire::{ABS_PATH_MAX, REL_PATH_MAX};

/// Event of a domain that was introduced.
pub const INTRODUCE_DOMAIN: &str = "@introduceDomain";
/// Event of a domain that stopped or was released.
pub const RELEASE_DOMAIN: &str = "@releaseDomain";

/// A valid absolute path, or the name of a special event.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path(Arc<str>);

impl Path {
    /// The path that `text` means to `domain`: a relative one is below its directory.
    ///
    /// # Errors
    ///
    /// `EINVAL`: against the rules.
    pub fn parse(text: &str, domain: RawDomid) -> Result<Self, Errno> {
        match text.as_bytes().first() {
            Some(b'/') => Self::absolute(text),
            Some(b'@') | None => Err(Errno::EINVAL),
            Some(_) if text.len() > REL_PATH_MAX => Err(Errno::EINVAL),
            Some(_) => Self::absolute(&format!("{}/{text}", domain_path(domain))),
        }
    }

    /// As [`parse`](Self::parse), but `text` may also name a special event.
    ///
    /// # Errors
    ///
    /// `EINVAL`: against the rules.
    pub fn parse_special(text: &str, domain: RawDomid) -> Result<Self, Errno> {
        match text.as_bytes().first() {
            Some(b'@') => Self::checked(text),
            _ => Self::parse(text, domain),
        }
    }

    /// The root of the tree.
    #[must_use]
    pub fn root() -> Self {
        Self(Arc::from("/"))
    }

    /// The directory of `domain`.
    #[must_use]
    pub fn of_domain(domain: RawDomid) -> Self {
        Self(Arc::from(domain_path(domain)))
    }

    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path as text that can be kept without a copy.
    pub(crate) fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }

    /// The node above; special events are below the root. `None` for the root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        parent(&self.0).map(|text| Self(Arc::from(text)))
    }

    /// The last name; empty for the root.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// The path of the child `name`, which is one of a node's children.
    pub(crate) fn child(&self, name: &str) -> Self {
        let above = if &*self.0 == "/" { "" } else { &self.0 };
        Self(Arc::from(format!("{above}/{name}")))
    }

    /// The path itself, what is above it, up to the root or the special event.
    pub(crate) fn with_ancestors(&self) -> impl Iterator<Item = &str> {
        let special = self.is_special();
        core::iter::successors(Some(&*self.0), |text| parent(text))
            .take_while(move |text| !special || *text != "/")
    }

    /// Whether this is a special event's name.
    #[must_use]
    pub fn is_special(&self) -> bool {
        self.0.starts_with('@')
    }

    /// Whether this is the root.
    #[must_use]
    pub fn is_root(&self) -> bool {
        &*self.0 == "/"
    }

    fn absolute(text: &str) -> Result<Self, Errno> {
        if text == "/" {
            return Ok(Self::root());
        }
        Self::checked(text)
    }

    fn checked(text: &str) -> Result<Self, Errno> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-/_@".contains(&byte);
        let valid = text.len() <= ABS_PATH_MAX
            && text.bytes().all(allowed)
            && !text.ends_with('/')
            && !text.contains("//");
        if valid { Ok(Self(Arc::from(text))) } else { Err(Errno::EINVAL) }
    }
}

/// The directory of `domain`, by which its relative paths begin.
#[must_use]
pub fn domain_path(domain: RawDomid) -> String {
    format!("/local/domain/{domain}")
}

fn parent(text: &str) -> Option<&str> {
    match text.rfind('/') {
        Some(0) if text.len() == 1 => None,
        Some(0) | None => Some("/"),
        Some(end) => text.get(..end),
    }
}

impl Borrow<str> for Path {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn accepted(text: &str) -> bool {
        Path::parse(text, 3).is_ok()
    }

    #[test]
    fn paths_follow_the_rules() {
        for good in ["/", "/a", "/a/b-c_d@e/0", "a", "device/vbd"] {
            assert!(accepted(good), "{good}");
        }
        for bad in ["", "/a/", "//", "/a//b", "a/", "/a b", "/a.b", "/\u{e4}", "@releaseDomain", "/a\0"] {
            assert!(!accepted(bad), "{bad:?}");
        }
    }

    #[test]
    fn lengths_are_limited() {
        let name = |bytes: usize| "a".repeat(bytes);
        assert!(accepted(&format!("/{}", name(ABS_PATH_MAX - 1))));
        assert!(!accepted(&format!("/{}", name(ABS_PATH_MAX))));
        assert!(accepted(&name(REL_PATH_MAX)));
        assert!(!accepted(&name(REL_PATH_MAX + 1)));
    }

    #[test]
    fn relative_paths_are_below_the_domain() {
        assert_eq!(Path::parse("x/y", 3).unwrap().as_str(), "/local/domain/3/x/y");
        assert_eq!(Path::parse_special("@releaseDomain", 3).unwrap().as_str(), RELEASE_DOMAIN);
    }

    #[test]
    fn ancestors_end_at_the_root() {
        let up = |text: &str| {
            let path = Path::parse_special(text, 0).unwrap();
            path.with_ancestors().map(String::from).collect::<Vec<_>>()
        };
        assert_eq!(up("/a/b"), ["/a/b", "/a", "/"]);
        assert_eq!(up("/"), ["/"]);
        assert_eq!(up("@releaseDomain/3"), ["@releaseDomain/3", "@releaseDomain"]);
    }

    #[test]
    fn children_and_parents() {
        let a = Path::root().child("a");
        assert_eq!(a.child("b").as_str(), "/a/b");
        assert_eq!((a.parent(), a.name()), (Some(Path::root()), "a"));
        assert_eq!((Path::root().parent(), Path::root().name()), (None, ""));
    }
}
