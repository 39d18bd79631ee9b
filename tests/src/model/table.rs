//! Every distinct node, and what it does on every input that it was given: each is worked out once, by running the
//! engine.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::frames::{FrameId, Frames};
use super::node::{Input, Node, Output, Setup, View};

/// A node in one state.
pub(super) type NodeId = u32;

/// What came of an input.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    pub(super) node: NodeId,
    pub(super) frame: Option<FrameId>,
    pub(super) output: Output,
}

/// All nodes and frames of one exploration.
pub(super) struct Table {
    pub(super) setup: Setup,
    pub(super) frames: Frames,
    nodes: Vec<Node>,
    by_print: HashMap<u128, NodeId>,
    steps: HashMap<(NodeId, Input), Step>,
}

impl Table {
    pub(super) fn new(setup: Setup) -> Self {
        Self {
            setup,
            frames: Frames::default(),
            nodes: Vec::new(),
            by_print: HashMap::new(),
            steps: HashMap::new(),
        }
    }

    pub(super) fn add(&mut self, node: Node) -> NodeId {
        let print = node.print(&self.setup);
        *self.by_print.entry(print).or_insert_with(|| {
            self.nodes.push(node);
            self.nodes.len() as NodeId - 1
        })
    }

    pub(super) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id as usize]
    }

    pub(super) fn view(&self, id: NodeId) -> &View {
        &self.nodes[id as usize].view
    }

    pub(super) fn nodes(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn steps(&self) -> usize {
        self.steps.len()
    }

    /// What an input did to a node, if it was ever tried.
    pub(super) fn known_step(&self, id: NodeId, input: Input) -> Option<Step> {
        self.steps.get(&(id, input)).copied()
    }

    /// What an input does to a node. An error is a property that does not hold.
    pub(super) fn step(&mut self, id: NodeId, input: Input) -> Result<Step, String> {
        if let Some(step) = self.steps.get(&(id, input)) {
            return Ok(*step);
        }
        let bytes = match input {
            Input::Receive { frame, .. } => Some(self.frames.get(frame).bytes.clone()),
            _ => None,
        };
        let setup = &self.setup;
        let before = &self.nodes[id as usize];
        let ran = catch_unwind(AssertUnwindSafe(|| {
            let mut node = before.clone();
            node.step(input, bytes, setup).map(|(output, frame)| (node, output, frame))
        }));
        let (node, output, frame) = ran.map_err(|_| String::from("the engine panicked"))??;
        let frame = frame.map(|bytes| self.frames.intern(bytes)).transpose()?;
        let step = Step { node: self.add(node), frame, output };
        self.steps.insert((id, input), step);
        Ok(step)
    }
}
