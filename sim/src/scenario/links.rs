//! What links are like.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::{Rate, Share, Size, Span};

/// What links are like.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Links {
    /// `stream`: in order, nothing is lost while the link is up. `datagram`: frames are lost, repeated, overtaken.
    pub carrier: Carrier,
    /// How long a frame takes beside its transmission.
    pub latency: Latency,
    /// How fast bytes go into it; no limit if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<Rate>,
    /// The largest frame.
    pub mtu: Size,
    /// Which frames are lost; datagrams only.
    pub loss: Loss,
    /// Loss on the way from the node with the higher number, if it differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss_back: Option<Loss>,
    /// Whether nothing comes from the node with the higher number: what the other one has goes over in bundles, nobody
    /// says HELLO, and nothing is acknowledged.
    pub simplex: bool,
    /// The share of frames that come twice; datagrams only.
    pub duplication: Share,
    /// The share of frames that are held back, so that others overtake them; datagrams only.
    pub reordering: Share,
    /// How long they are held back.
    pub reordering_delay: Span,
    /// The share of frames that arrive with a flipped bit, and are dropped by the seal; datagrams only.
    pub corruption: Share,
    /// How long it takes until two devices that meet have a link.
    pub setup: Span,
    /// How long a device goes on believing in a link whose other end is gone.
    pub half_open: Span,
    /// Links break after this time on average, exponentially distributed, and come up again; never if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub breaks: Option<Span>,
    /// Links that differ from that.
    #[serde(rename = "except", skip_serializing_if = "Vec::is_empty")]
    pub exceptions: Vec<LinkException>,
}

/// Links that differ from the others.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LinkException {
    /// Those between these pairs of nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pairs: Vec<(usize, usize)>,
    /// And all of these nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<usize>,
    /// What they are like. A key that is absent here has its default.
    pub links: Links,
}

impl Links {
    /// What a link between two nodes is like: as the last exception for the pair says, or the last one for either node.
    pub(crate) fn between(&self, a: usize, b: usize) -> &Self {
        let of_pair =
            |one: &&LinkException| one.pairs.iter().any(|&(c, d)| (c, d) == (a, b) || (d, c) == (a, b));
        let of = |node| move |one: &&LinkException| one.nodes.contains(&node);
        let all = || self.exceptions.iter();
        let odd = all().rfind(of_pair).or_else(|| all().rfind(of(a))).or_else(|| all().rfind(of(b)));
        odd.map_or(self, |odd| &odd.links)
    }

    /// Whether there is a link that goes one way.
    pub(crate) fn any_simplex(&self) -> bool {
        self.simplex || self.exceptions.iter().any(|one| one.links.simplex)
    }
}

impl Default for Links {
    fn default() -> Self {
        Self {
            carrier: Carrier::Stream,
            latency: Latency::Fixed(Span::from_ms(30)),
            bandwidth: None,
            mtu: Size::from_bytes(65_536),
            loss: Loss::default(),
            loss_back: None,
            simplex: false,
            duplication: Share::default(),
            reordering: Share::default(),
            reordering_delay: Span::from_ms(100),
            corruption: Share::default(),
            setup: Span::default(),
            half_open: Span::default(),
            breaks: None,
            exceptions: Vec::new(),
        }
    }
}

/// What a link does with frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Carrier {
    /// In order, once each, until the link ends.
    Stream,
    /// Frames are lost, repeated and overtaken.
    Datagram,
}

/// How long a frame is under way.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Latency {
    /// Always the same.
    Fixed(Span),
    /// Drawn evenly.
    Uniform {
        /// At least.
        from: Span,
        /// At most.
        to: Span,
    },
    /// Drawn from a log-normal distribution: most are short, few are long.
    LogNormal {
        /// Half of the frames take less.
        median: Span,
        /// Standard deviation of the logarithm.
        sigma: f64,
    },
}

/// Which frames are lost.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Loss {
    /// Each frame with this probability.
    Independent(Share),
    /// Bursts (Gilbert 1960, Elliott 1963): a channel that is good or bad, and changes from frame to frame.
    Bursts {
        /// Loss while it is good.
        good: Share,
        /// Loss while it is bad.
        bad: Share,
        /// Probability to become bad, each frame.
        to_bad: Share,
        /// Probability to become good again, each frame.
        to_good: Share,
    },
}

impl Default for Loss {
    fn default() -> Self {
        Self::Independent(Share::default())
    }
}
