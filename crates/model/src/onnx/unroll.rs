//! `Loop` and `Scan`, where the number of their steps is known: each step is read as if it stood in the graph.

use super::call::Call;
use super::import::{Importer, Scope};
use super::proto;
use super::value::{Integers, Size, Value};
use crate::Op;
use faithful_core::Result;

/// No file's loops have more operators in all their steps: one that says so is damaged, or not to be explained.
const MOST_OPERATORS: usize = 1 << 16;

impl Importer<'_> {
    /// The outputs of a loop whose condition depends on constants alone.
    pub(super) fn unroll_loop(&mut self, call: &Call, scope: &mut Scope, depth: usize) -> Result<Vec<Value>> {
        let body = call.graph("body").ok_or_else(|| call.damaged("it has no body"))?;
        let number = |value: Value| -> Result<Option<i64>> {
            match value {
                Value::Absent => Ok(None),
                Value::Integers(known) => match known.fixed().as_deref() {
                    Some([number]) => Ok(Some(*number)),
                    _ => Err(call.unsupported("a number of steps that depends on the batch")),
                },
                _ => Err(call.unsupported("a number of steps that depends on the input's values")),
            }
        };
        let most = number(call.operand(0))?;
        let mut goes_on = number(call.operand(1))?.is_none_or(|condition| condition != 0);
        if most.is_none() && matches!(call.operand(1), Value::Absent) {
            return Err(call.damaged("it has neither a number of steps nor a condition"));
        }
        let carried = call.operands.len().saturating_sub(2);
        let [step_name, condition_name] = [0, 1].map(|place| body.input.get(place).map(|input| input.name.clone()));
        if body.input.len() != carried + 2 || body.output.len() < carried + 1 {
            return Err(call.damaged(format!("{carried} values for a body of {} inputs", body.input.len())));
        }
        let mut state: Vec<Value> = call.operands[call.operands.len() - carried..].to_vec();
        let mut gathered = vec![Vec::new(); body.output.len() - 1 - carried];
        self.read_stored(body, scope)?;
        let mut step = 0;
        while goes_on && most.is_none_or(|most| step < most) {
            self.count_operators(call, body.node.len())?;
            if let Some(name) = &step_name {
                scope.insert(name.clone(), Value::Integers(Integers::scalar(Size::from(step))));
            }
            if let Some(name) = &condition_name {
                scope.insert(name.clone(), Value::Integers(Integers::scalar(Size::from(1))));
            }
            for (input, value) in body.input[2..].iter().zip(&state) {
                scope.insert(input.name.clone(), value.clone());
            }
            let outputs = self.read_body(body, scope, depth)?;
            if outputs.iter().any(|value| matches!(value, Value::Unknown)) {
                // What is missing is collected; more steps would say it again.
                return Ok(vec![Value::Unknown; carried + gathered.len()]);
            }
            goes_on = number(outputs[0].clone())?.is_none_or(|condition| condition != 0);
            state = outputs[1..=carried].to_vec();
            for (all, value) in gathered.iter_mut().zip(&outputs[carried + 1..]) {
                all.push(value.clone());
            }
            step += 1;
        }
        for (place, all) in gathered.into_iter().enumerate() {
            state.push(self.stacked(call, carried + place, all, 0)?);
        }
        Ok(state)
    }

    /// The outputs of a walk along axes of known sizes.
    pub(super) fn unroll_scan(&mut self, call: &Call, scope: &mut Scope, depth: usize) -> Result<Vec<Value>> {
        let body = call.graph("body").ok_or_else(|| call.damaged("it has no body"))?;
        let scanned = usize::try_from(call.integer("num_scan_inputs", 0)).unwrap_or(0);
        let operands = call.operands.clone();
        if call.opset < 9 || scanned == 0 || scanned > operands.len() || body.input.len() != operands.len() {
            return Err(call.unsupported("this number of inputs, or a version before 9"));
        }
        let carried = operands.len() - scanned;
        if body.output.len() < carried {
            return Err(call.damaged(format!("{carried} states for a body of {} outputs", body.output.len())));
        }
        let made = body.output.len() - carried;
        let listed =
            |name: &str, place: usize| call.integers(name).and_then(|all| all.get(place)).copied().unwrap_or(0);
        let mut axes = Vec::with_capacity(scanned);
        let mut steps = None;
        for (place, operand) in operands[carried..].iter().enumerate() {
            let sizes = self.sizes(operand)?;
            let axis = call.axis(listed("scan_input_axes", place), sizes.len())?;
            let size = sizes[axis].fixed().and_then(|size| usize::try_from(size).ok());
            let size = size.ok_or_else(|| call.unsupported("along the batch"))?;
            if *steps.get_or_insert(size) != size {
                return Err(call.damaged("its axes differ in size"));
            }
            axes.push(axis);
        }
        let steps = steps.unwrap_or(0);
        let mut state: Vec<Value> = operands[..carried].to_vec();
        let mut gathered = vec![Vec::new(); made];
        self.read_stored(body, scope)?;
        for step in 0..steps {
            self.count_operators(call, body.node.len())?;
            for (input, value) in body.input.iter().zip(&state) {
                scope.insert(input.name.clone(), value.clone());
            }
            for (place, (operand, &axis)) in operands[carried..].iter().zip(&axes).enumerate() {
                let backwards = listed("scan_input_directions", place) != 0;
                let index = vec![if backwards { steps - 1 - step } else { step }];
                let name = format!("{}/step", call.name);
                let part = self.emit(&name, Op::Gather { axis, index }, std::slice::from_ref(operand))?;
                let part = self.emit(&name, Op::Squeeze(vec![axis]), &[part])?;
                scope.insert(body.input[carried + place].name.clone(), part);
            }
            let outputs = self.read_body(body, scope, depth)?;
            if outputs.iter().any(|value| matches!(value, Value::Unknown)) {
                return Ok(vec![Value::Unknown; carried + made]);
            }
            state = outputs[..carried].to_vec();
            for (place, value) in outputs[carried..].iter().enumerate() {
                let all: &mut Vec<Value> = &mut gathered[place];
                let at = if listed("scan_output_directions", place) == 0 { all.len() } else { 0 };
                all.insert(at, value.clone());
            }
        }
        for (place, all) in gathered.into_iter().enumerate() {
            state.push(self.stacked(call, carried + place, all, listed("scan_output_axes", place))?);
        }
        Ok(state)
    }

    /// Reads the tensors that a body brings along.
    pub(super) fn read_stored(&mut self, body: &proto::Graph, scope: &mut Scope) -> Result<()> {
        for tensor in &body.initializer {
            scope.insert(tensor.name.clone(), super::tensor::read(tensor, &self.external)?);
        }
        Ok(())
    }

    pub(super) fn read_body(&mut self, body: &proto::Graph, scope: &mut Scope, depth: usize) -> Result<Vec<Value>> {
        for node in &body.node {
            self.read(node, scope, depth + 1)?;
        }
        Ok(body.output.iter().map(|output| scope.get(&output.name).cloned().unwrap_or(Value::Unknown)).collect())
    }

    pub(super) fn count_operators(&mut self, call: &Call, count: usize) -> Result<()> {
        self.unrolled += count + 1;
        if self.unrolled > MOST_OPERATORS {
            return Err(call.unsupported(format!("loops of more than {MOST_OPERATORS} operators in all their steps")));
        }
        Ok(())
    }

    /// The values of all steps as one, beside each other along a new axis; nothing where nobody reads it.
    #[allow(clippy::needless_pass_by_value)] // The steps are given up here.
    fn stacked(&mut self, call: &Call, output: usize, all: Vec<Value>, axis: i64) -> Result<Value> {
        if !call.gives(output) {
            return Ok(Value::Absent);
        }
        let Some(first) = all.first() else { return Err(call.unsupported("no steps, whose outputs have no shape")) };
        let axis = call.axis(axis, self.rank(first)? + 1)?;
        let name = format!("{}/output-{output}", call.name);
        let mut parts = Vec::with_capacity(all.len());
        for value in &all {
            parts.push(self.emit(&format!("{name}-step"), Op::Unsqueeze(vec![axis]), std::slice::from_ref(value))?);
        }
        match parts.as_slice() {
            [one] => Ok(one.clone()),
            _ => self.emit(&name, Op::Concat { axis }, &parts),
        }
    }
}
