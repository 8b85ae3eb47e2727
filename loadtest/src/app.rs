//! The apps that are measured, and the places where they cache.

use std::fmt;
use std::str::FromStr;

use clap::ValueEnum;

/// Something that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum App {
    Axum,
    Poem,
    Warp,
    /// A constant answer: the best that this machine and this harness can do.
    Floor,
    /// Routes of the load test itself, on axum.
    Lab,
    /// The original; a child of another program.
    Python,
    /// Somebody's own service.
    Target,
}

impl App {
    /// The sample apps.
    pub(crate) const SAMPLES: [Self; 3] = [Self::Axum, Self::Poem, Self::Warp];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Axum => "axum",
            Self::Poem => "poem",
            Self::Warp => "warp",
            Self::Floor => "floor",
            Self::Lab => "lab",
            Self::Python => "python",
            Self::Target => "target",
        }
    }
}

/// The place where an app caches.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Cache {
    Memory,
    /// A server of our own.
    Redis,
    /// Memory in front of a server of our own.
    Tiered,
    Url(String),
}

impl Cache {
    /// Returns whether it is on a server of our own.
    pub(crate) fn is_ours(&self) -> bool {
        matches!(self, Self::Redis | Self::Tiered)
    }
}

impl FromStr for Cache {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "memory" | "memory://" => Ok(Self::Memory),
            "redis" => Ok(Self::Redis),
            "tiered" => Ok(Self::Tiered),
            url if url.contains("://") => Ok(Self::Url(url.to_owned())),
            _ => Err("expected `memory`, `redis`, `tiered` or a URL such as \
                `redis://127.0.0.1:6379`"
                .into()),
        }
    }
}

/// The name in tables and file names: of a URL its scheme alone, since the rest may hold a
/// password.
impl fmt::Display for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "memory",
            Self::Redis => "redis",
            Self::Tiered => "tiered",
            Self::Url(url) => url.split("://").next().unwrap_or("url"),
        })
    }
}
