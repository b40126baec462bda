//! What all modules need to write down structures and numbers without repetition.

/// Structures of the interface: adds `repr(C)`, the zerocopy traits and a check of the size.
///
/// `pub struct Name, 8 bytes { .. }` is otherwise a plain definition.
macro_rules! layout {
    ($(
        $(#[$meta:meta])*
        pub struct $name:ident, $size:literal bytes {
            $( $(#[$field_meta:meta])* pub $field:ident: $type:ty, )*
        }
    )*) => { $(
        $(#[$meta])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq,
            zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout,
        )]
        #[repr(C)]
        pub struct $name {
            $( $(#[$field_meta])* pub $field: $type, )*
        }
        const _: () = assert!(size_of::<$name>() == $size);
    )* };
}

/// Enumerations of the interface: a checked constructor and the way back.
macro_rules! numbers {
    ($(
        $(#[$meta:meta])*
        pub enum $name:ident: $repr:ident {
            $( $(#[$variant_meta:meta])* $variant:ident = $value:literal, )*
        }
    )*) => { $(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr($repr)]
        pub enum $name {
            $( $(#[$variant_meta])* $variant = $value, )*
        }

        impl $name {
            /// The meaning of `raw`, or `None` where the interface gives it none.
            #[must_use]
            pub const fn new(raw: $repr) -> Option<Self> {
                match raw {
                    $( $value => Some(Self::$variant), )*
                    _ => None,
                }
            }

            /// The number in the interface.
            #[must_use]
            pub const fn get(self) -> $repr {
                self as $repr
            }
        }
    )* };
}

/// Unions of the interface: words that hold any one of the members.
macro_rules! unions {
    ($(
        $(#[$meta:meta])*
        pub union $name:ident: [$word:ident; $count:literal] { $($member:ty),* $(,)? }
    )*) => { $(
        $(#[$meta])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq,
            zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout,
        )]
        #[repr(transparent)]
        pub struct $name([$word; $count]);

        impl $name {
            /// A union that holds `member`, zero behind it.
            #[must_use]
            pub fn of<T: crate::union::MemberOf<Self>>(member: &T) -> Self {
                crate::union::store(member)
            }

            /// The first bytes read as a `T`.
            #[must_use]
            pub fn view<T: crate::union::MemberOf<Self>>(&self) -> T {
                crate::union::load(self)
            }
        }

        $(
            impl crate::union::MemberOf<$name> for $member {}
            const _: () = assert!(size_of::<$member>() <= size_of::<$name>());
            const _: () = assert!(align_of::<$member>() <= align_of::<$name>());
        )*
    )* };
}
