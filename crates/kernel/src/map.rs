use super::Isa;
use super::simd::Simd;
use candle_core::{Result, bail};

/// Memory for maps and packed weights, aligned to a cache line so that no vector straddles two.
#[derive(Debug, Default)]
pub struct Buffer {
    /// A cache line longer than asked for; the first aligned element is at `start`.
    data: Vec<f32>,
    start: usize,
    length: usize,
}

/// A cache line's elements.
pub(super) const LINE: usize = 16;
/// From this many elements on, memory comes in large pages where the system has them.
const LARGE: usize = 1024 * 1024;

impl Buffer {
    /// Zeros. The system commits memory only as it is written.
    pub fn zeros(length: usize) -> Self {
        let data = vec![0.0; length + LINE];
        if length >= LARGE {
            ask_for_large_pages(&data);
        }
        let start = data.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE);
        Self { data, start, length }
    }

    /// Grows to at least `length` elements; what was there is no longer meaningful.
    pub fn reserve(&mut self, length: usize) {
        if length > self.length {
            // The old memory goes first, so that both never exist together.
            *self = Self::default();
            *self = Self::zeros(length);
        }
    }
}

/// Asks for large pages: kernels walk through many rows at a time, each on a page of its own, and with small pages the
/// processor looks up addresses half of its time.
fn ask_for_large_pages(data: &[f32]) {
    #[cfg(target_os = "linux")]
    {
        const PAGE: usize = 4096;
        let start = data.as_ptr().addr().next_multiple_of(PAGE);
        let end = data.as_ptr_range().end.addr() / PAGE * PAGE;
        if start < end {
            let start = data.as_ptr().with_addr(start).cast_mut().cast();
            // SAFETY: the range lies inside memory that is ours; the advice does not change what it holds. A refusal
            // changes nothing.
            let _ = unsafe { libc::madvise(start, end - start.addr(), libc::MADV_HUGEPAGE) };
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = data;
}

impl Clone for Buffer {
    fn clone(&self) -> Self {
        // The copy lies elsewhere and starts at another offset.
        let mut copy = Self::zeros(self.length);
        copy.copy_from_slice(self);
        copy
    }
}

impl std::ops::Deref for Buffer {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        &self.data[self.start..self.start + self.length]
    }
}

impl std::ops::DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.data[self.start..self.start + self.length]
    }
}

/// A map that is read: `shape` `[N, H, W, C]`, channels innermost, the next pixel `pixel >= C` elements on.
#[derive(Clone, Copy, Debug)]
pub struct Map<'a> {
    data: &'a [f32],
    shape: [usize; 4],
    pixel: usize,
}

/// A map that is written; see [`Map`].
#[derive(Debug)]
pub struct MapMut<'a> {
    data: &'a mut [f32],
    shape: [usize; 4],
    pixel: usize,
}

fn check(length: usize, shape: [usize; 4], pixel: usize) -> Result<()> {
    let [n, h, w, c] = shape;
    let pixels = n * h * w;
    if pixel < c || (pixels > 0 && (pixels - 1) * pixel + c > length) {
        bail!("a map of shape {shape:?} with pixels of {pixel} does not fit in {length} elements");
    }
    Ok(())
}

impl<'a> Map<'a> {
    /// The map in `data`, pixels side by side.
    pub fn new(data: &'a [f32], shape: [usize; 4]) -> Result<Self> {
        Self::with_pixel(data, shape, shape[3])
    }

    /// The map in `data` with pixels of `pixel` elements, of which the first `C` count.
    pub fn with_pixel(data: &'a [f32], shape: [usize; 4], pixel: usize) -> Result<Self> {
        check(data.len(), shape, pixel)?;
        Ok(Self { data, shape, pixel })
    }

    /// `[N, H, W, C]`.
    pub fn shape(&self) -> [usize; 4] {
        self.shape
    }

    pub(super) fn pixel(&self) -> usize {
        self.pixel
    }

    pub(super) fn data(&self) -> &'a [f32] {
        self.data
    }

    pub(super) fn pointer(&self) -> Source {
        Source(self.data.as_ptr())
    }
}

impl<'a> MapMut<'a> {
    /// The map in `data`, pixels side by side.
    pub fn new(data: &'a mut [f32], shape: [usize; 4]) -> Result<Self> {
        Self::with_pixel(data, shape, shape[3])
    }

    /// The map in `data` with pixels of `pixel` elements, of which the first `C` are written.
    pub fn with_pixel(data: &'a mut [f32], shape: [usize; 4], pixel: usize) -> Result<Self> {
        check(data.len(), shape, pixel)?;
        Ok(Self { data, shape, pixel })
    }

    /// `[N, H, W, C]`.
    pub fn shape(&self) -> [usize; 4] {
        self.shape
    }

    pub(super) fn pixels(&self) -> usize {
        self.shape[..3].iter().product()
    }

    pub(super) fn pixel(&self) -> usize {
        self.pixel
    }

    pub(super) fn pointer(&mut self) -> Target {
        Target(self.data.as_mut_ptr())
    }
}

/// Where tasks read.
#[derive(Clone, Copy)]
pub(super) struct Source(pub(super) *const f32);
/// Where tasks write.
#[derive(Clone, Copy)]
pub(super) struct Target(pub(super) *mut f32);

// SAFETY: these point into slices that outlive the parallel section, and every task writes elements of its own.
unsafe impl Send for Source {}
// SAFETY: as above.
unsafe impl Sync for Source {}
// SAFETY: as above.
unsafe impl Send for Target {}
// SAFETY: as above.
unsafe impl Sync for Target {}

impl Source {
    #[inline(always)]
    pub(super) fn at(self, offset: usize) -> *const f32 {
        // `wrapping_add`: an address for a row that is never read may lie outside.
        self.0.wrapping_add(offset)
    }
}

impl Target {
    #[inline(always)]
    pub(super) fn at(self, offset: usize) -> *mut f32 {
        self.0.wrapping_add(offset)
    }
}

/// Lets a gradient through where an activation's value lies strictly between two bounds.
#[derive(Clone, Copy, Debug)]
pub struct Gate<'a> {
    /// The activation's output, of the gradient's shape.
    pub values: Map<'a>,
    /// The lower bound (0 for relu).
    pub low: f32,
    /// The upper bound (infinity for relu).
    pub high: f32,
    /// What happens to the gradient besides.
    pub rule: crate::BackwardRule,
}

/// What a kernel does with a result: adds `bias`, then `add`, clamps to `low ..= high`, passes the gate, and applies the
/// activation while the result is in the cache.
#[derive(Clone, Copy, Debug)]
pub struct Finish<'a> {
    /// One number per channel.
    pub bias: Option<&'a [f32]>,
    /// A map of the result's shape: a residual connection, or a gradient that was there before.
    pub add: Option<Map<'a>>,
    /// Adds to what the output holds instead of replacing it; then `add` must be absent.
    pub accumulate: bool,
    /// The least value.
    pub low: f32,
    /// The greatest value.
    pub high: f32,
    /// Where a gradient passes.
    pub gate: Option<Gate<'a>>,
    /// An activation that does not only clamp.
    pub activation: Option<crate::Activation>,
}

impl Default for Finish<'_> {
    fn default() -> Self {
        Self {
            bias: None,
            add: None,
            accumulate: false,
            low: f32::NEG_INFINITY,
            high: f32::INFINITY,
            gate: None,
            activation: None,
        }
    }
}

impl Finish<'_> {
    /// Checks that everything has the shape of `out` and gives what the kernels use.
    pub(super) fn prepare(&self, out: &mut MapMut) -> Result<RawFinish> {
        let shape = out.shape;
        if self.accumulate && self.add.is_some() {
            bail!("a result can be added to one thing only");
        }
        let (add, add_pixel) = if self.accumulate {
            (Source(out.pointer().0.cast_const()), out.pixel)
        } else {
            self.add.map_or((Source(std::ptr::null()), 0), |map| (map.pointer(), map.pixel))
        };
        if let Some(bias) = self.bias
            && bias.len() != shape[3]
        {
            bail!("{} biases for {} channels", bias.len(), shape[3]);
        }
        for map in self.add.iter().chain(self.gate.iter().map(|gate| &gate.values)) {
            if map.shape != shape {
                bail!("a map of shape {:?} does not go with a result of shape {shape:?}", map.shape);
            }
        }
        let null = Source(std::ptr::null());
        Ok(RawFinish {
            bias: self.bias.map_or(null, |bias| Source(bias.as_ptr())),
            add,
            add_pixel,
            clamp: self.low > f32::NEG_INFINITY || self.high < f32::INFINITY,
            low: self.low,
            high: self.high,
            gate: self.gate.map_or(null, |gate| gate.values.pointer()),
            gate_pixel: self.gate.map_or(0, |gate| gate.values.pixel),
            gate_low: self.gate.map_or(0.0, |gate| gate.low),
            gate_high: self.gate.map_or(0.0, |gate| gate.high),
            rule: self.gate.map_or(crate::BackwardRule::Plain, |gate| gate.rule),
            activation: self.activation,
        })
    }
}

/// [`Finish`] for the inner loops: pointers are null where there is nothing to do.
#[derive(Clone, Copy)]
pub(super) struct RawFinish {
    bias: Source,
    add: Source,
    add_pixel: usize,
    clamp: bool,
    low: f32,
    high: f32,
    gate: Source,
    gate_pixel: usize,
    gate_low: f32,
    gate_high: f32,
    rule: crate::BackwardRule,
    activation: Option<crate::Activation>,
}

impl RawFinish {
    /// Nothing to do.
    pub(super) const NONE: Self = Self {
        bias: Source(std::ptr::null()),
        add: Source(std::ptr::null()),
        add_pixel: 0,
        clamp: false,
        low: f32::NEG_INFINITY,
        high: f32::INFINITY,
        gate: Source(std::ptr::null()),
        gate_pixel: 0,
        gate_low: 0.0,
        gate_high: 0.0,
        rule: crate::BackwardRule::Plain,
        activation: None,
    };

    /// Results are added to what is where they go, pixels `pixel` elements apart.
    pub(super) fn adding_to(out: Target, pixel: usize) -> Self {
        Self { add: Source(out.0.cast_const()), add_pixel: pixel, ..Self::NONE }
    }

    /// The same for results whose channel 0 is the channel `first` here.
    pub(super) fn starting_at_channel(&self, first: usize) -> Self {
        let move_on = |source: Source| if source.0.is_null() { source } else { Source(source.at(first)) };
        Self { bias: move_on(self.bias), add: move_on(self.add), gate: move_on(self.gate), ..*self }
    }

    /// Applies the activation to results of a task, which are stored and have been through everything else: lines, each from its
    /// start on so many.
    ///
    /// # Safety
    /// The lines are the task's own.
    pub(super) unsafe fn activate(&self, isa: Isa, lines: impl FnOnce(&mut dyn FnMut(Target, usize))) {
        if let Some(kind) = self.activation {
            // SAFETY: the caller's.
            lines(&mut |start, length| unsafe { super::activate::in_place(isa, kind, start, length) });
        }
    }

    /// The same for whole pixels, `out.1` elements apart from `out.0` on.
    ///
    /// # Safety
    /// As for [`activate`](Self::activate).
    pub(super) unsafe fn activate_pixels(
        &self,
        isa: Isa,
        pixels: std::ops::Range<usize>,
        out: (Target, usize),
        channels: usize,
    ) {
        let at = |pixel: usize| Target(out.0.at(pixel * out.1));
        // SAFETY: the caller's.
        unsafe {
            self.activate(isa, |apply| {
                if out.1 == channels {
                    apply(at(pixels.start), pixels.len() * channels);
                } else {
                    pixels.for_each(|pixel| apply(at(pixel), channels));
                }
            });
        }
    }

    /// Whether results stay as they are.
    #[inline(always)]
    pub(super) fn is_nothing(&self) -> bool {
        self.bias.0.is_null() && self.add.0.is_null() && !self.clamp && self.gate.0.is_null()
    }

    #[inline(always)]
    pub(super) fn has_gate(&self) -> bool {
        !self.gate.0.is_null()
    }

    /// The bias of a vector of channels, zero where there is none.
    ///
    /// # Safety
    /// As [`RawFinish::apply`]'s for a whole vector.
    #[inline(always)]
    pub(super) unsafe fn bias<S: Simd>(&self, channel: usize) -> S::Vector {
        // SAFETY: the caller's.
        unsafe { if self.bias.0.is_null() { S::splat(0.0) } else { S::load(self.bias.at(channel)) } }
    }

    /// Asks for what will be added to a whole vector.
    #[inline(always)]
    pub(super) unsafe fn fetch<S: Simd>(&self, pixel: usize, channel: usize) {
        // SAFETY: any address may be asked for.
        unsafe { S::prefetch(self.add.0.wrapping_add(pixel * self.add_pixel + channel)) }
    }

    #[inline(always)]
    pub(super) fn adds(&self) -> bool {
        !self.add.0.is_null()
    }

    /// Finishes a whole vector which has its bias already and no gate.
    ///
    /// # Safety
    /// As [`RawFinish::apply`]'s.
    #[inline(always)]
    pub(super) unsafe fn whole<S: Simd>(&self, mut value: S::Vector, pixel: usize, channel: usize) -> S::Vector {
        // SAFETY: the caller's.
        unsafe {
            if !self.add.0.is_null() {
                value = S::add(value, S::load(self.add.at(pixel * self.add_pixel + channel)));
            }
            // NaN is the second operand and goes through.
            S::min(S::splat(self.high), S::max(S::splat(self.low), value))
        }
    }

    /// Finishes `count` channels from `channel` on of the pixel number `pixel`.
    ///
    /// # Safety
    /// [`Simd`]'s, and pixel and channels lie inside the output that this was prepared for.
    #[inline(always)]
    pub(super) unsafe fn apply<S: Simd>(
        &self,
        mut value: S::Vector,
        pixel: usize,
        channel: usize,
        count: usize,
    ) -> S::Vector {
        // SAFETY: the caller's; `prepare` checked the maps' shapes.
        unsafe {
            if !self.bias.0.is_null() {
                value = S::add(value, S::load_up_to(self.bias.at(channel), count));
            }
            if !self.add.0.is_null() {
                value = S::add(value, S::load_up_to(self.add.at(pixel * self.add_pixel + channel), count));
            }
            if self.clamp {
                // NaN is the second operand and goes through.
                value = S::min(S::splat(self.high), S::max(S::splat(self.low), value));
            }
            if !self.gate.0.is_null() {
                if self.rule != crate::BackwardRule::Deconvnet {
                    let seen = S::load_up_to(self.gate.at(pixel * self.gate_pixel + channel), count);
                    value = S::keep_where_inside(seen, S::splat(self.gate_low), S::splat(self.gate_high), value);
                }
                if self.rule != crate::BackwardRule::Plain {
                    value = S::max(S::splat(0.0), value);
                }
            }
            value
        }
    }
}
