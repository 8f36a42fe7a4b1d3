//! Which nodes the output needs, in an order in which they can be read.

use super::proto;
use faithful_core::{Error, Result};
use std::collections::{HashMap, HashSet};

/// How far the walk has come with a node.
#[derive(Clone, Copy, PartialEq)]
enum State {
    New,
    Open,
    Done,
}

/// What a node is called in messages and as a layer: its name, or its first output's where it has none.
pub(super) fn label(node: &proto::Node) -> &str {
    let output = || node.output.iter().find(|name| !name.is_empty()).map_or(node.op_type.as_str(), String::as_str);
    if node.name.is_empty() { output() } else { &node.name }
}

/// The indices of the nodes that `outputs` need, producers before users.
///
/// The file's order is kept where it is one; otherwise the nodes are sorted. `known` are the names that need no node.
pub(super) fn needed(nodes: &[proto::Node], known: &HashSet<&str>, outputs: &[&str]) -> Result<Vec<usize>> {
    let mut producer: HashMap<&str, usize> = HashMap::new();
    for (index, node) in nodes.iter().enumerate() {
        for name in node.output.iter().filter(|name| !name.is_empty()) {
            if producer.insert(name, index).is_some() || known.contains(name.as_str()) {
                return Err(Error::format(format!("node `{}`", label(node)), format!("`{name}` is made twice")));
            }
        }
    }
    let find = |name: &str, user: &str| -> Result<Option<usize>> {
        match producer.get(name) {
            _ if name.is_empty() || known.contains(name) => Ok(None),
            Some(&index) => Ok(Some(index)),
            None => Err(Error::format(format!("`{user}`"), format!("nothing in the file makes its operand `{name}`"))),
        }
    };

    let mut state = vec![State::New; nodes.len()];
    let mut sorted = Vec::new();
    let mut stack: Vec<(usize, Vec<&str>)> = Vec::new();
    let mut lasts = Vec::new();
    for output in outputs {
        lasts.extend(find(output, "the model's output")?);
    }
    while let Some(last) = lasts.pop() {
        if state[last] == State::New {
            state[last] = State::Open;
            stack.push((last, operands(&nodes[last])));
        }
        while let Some((index, waiting)) = stack.last_mut() {
            let index = *index;
            let Some(name) = waiting.pop() else {
                state[index] = State::Done;
                sorted.push(index);
                stack.pop();
                continue;
            };
            let Some(next) = find(name, label(&nodes[index]))? else { continue };
            match state[next] {
                State::Done => {}
                State::Open => {
                    let reason = "it depends on its own output: the graph has a cycle";
                    return Err(Error::format(format!("node `{}`", label(&nodes[next])), reason));
                }
                State::New => {
                    state[next] = State::Open;
                    stack.push((next, operands(&nodes[next])));
                }
            }
        }
    }

    let in_order = sorted
        .iter()
        .all(|&index| operands(&nodes[index]).iter().all(|name| producer.get(name).is_none_or(|&made| made < index)));
    if in_order {
        sorted.sort_unstable();
    }
    Ok(sorted)
}

/// The names that a node reads, those that its branches take from outside included.
pub(super) fn operands(node: &proto::Node) -> Vec<&str> {
    let mut names: Vec<&str> = node.input.iter().map(String::as_str).collect();
    for graph in node.attribute.iter().filter_map(|attribute| attribute.g.as_ref()) {
        let own: HashSet<&str> = graph
            .node
            .iter()
            .flat_map(|inner| inner.output.iter().map(String::as_str))
            .chain(graph.initializer.iter().map(|tensor| tensor.name.as_str()))
            .chain(graph.input.iter().map(|input| input.name.as_str()))
            .collect();
        let inner = graph.node.iter().flat_map(operands).chain(graph.output.iter().map(|output| output.name.as_str()));
        names.extend(inner.filter(|name| !own.contains(name)));
    }
    names
}
