//! Results are the same bit for bit with one thread and with several, and alone and in a batch.

use super::*;

const SIDE: usize = 30;
const PIXELS: usize = SIDE * SIDE;

/// The same work on some rows, with so many threads.
fn with_threads<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work)
}

/// Compares the results of all rows by three threads with those by one, and of a row alone by two.
fn check(name: &str, run: impl Fn(usize) -> Vec<f32> + Sync) {
    let all = with_threads(3, || run(6));
    assert_eq!(all, with_threads(1, || run(6)), "{name}");
    let one = with_threads(2, || run(1));
    assert_eq!(one[..], all[..one.len()], "{name}");
}

/// A kernel from maps of `SIDE` by `SIDE` with `c` channels to others with `o`.
fn check_maps(
    name: &str,
    [c, o]: [usize; 2],
    [from, to]: [usize; 2],
    run: impl Fn(Map, MapMut) -> candle_core::Result<()> + Sync,
) {
    let input = numbers(2, 6 * from * from * c);
    check(name, |rows| {
        let mut out = vec![0.0; rows * to * to * o];
        let map = Map::new(&input[..rows * from * from * c], [rows, from, from, c]).unwrap();
        run(map, MapMut::new(&mut out, [rows, to, to, o]).unwrap()).unwrap();
        out
    });
}

#[test]
fn results_do_not_depend_on_threads_or_batch() {
    let [c, o] = [51, 72];
    let half = SIDE / 2;
    let same = Conv { padding: [1; 4], ..Conv::default() };
    let strided = Conv { stride: [2; 2], ..same };
    let apart = Conv { groups: c, ..same };
    let (weight, taps) = (numbers(1, o * c * 9), numbers(3, c * 9));
    let finish = Finish { low: 0.0, ..Finish::default() };
    for isa in Isa::available() {
        for (factors, tile) in [(Factors::F32, Tile::Four), (Factors::Bf16, Tile::FourBalanced)] {
            let winograd = Winograd::with_factors(isa, factors, tile, &weight, [o, c]).unwrap();
            check_maps("winograd", [c, o], [SIDE; 2], |map, out| winograd.run(map, [1, 1], out, &finish));
            if factors == Factors::F32 {
                let strided = Winograd::new(isa, Tile::StridedFour, &weight, [o, c]).unwrap();
                check_maps("strided winograd", [c, o], [SIDE, half], |map, out| strided.run(map, [1, 1], out, &finish));
            }
            for (conv, to) in [(&same, SIDE), (&strided, half)] {
                let direct = Direct::with_factors(isa, factors, &weight, [o, c, 3, 3], conv).unwrap();
                check_maps("direct", [c, o], [SIDE, to], |map, out| direct.run(map, out, &finish));
            }
            let linear = Linear::new(isa, factors, &weight, [o, c * 9]).unwrap();
            let x = numbers(4, 6 * c * 9);
            check("rounded linear", |rows| {
                let mut out = vec![0.0; rows * o];
                linear.run(&x[..rows * c * 9], None, (-9.0, 9.0), rows, &mut out).unwrap();
                out
            });
        }
        let back = Winograd::gradient(isa, Tile::Four, &weight, [o, c]).unwrap();
        check_maps("winograd back", [o, c], [SIDE; 2], |map, out| back.run(map, [1, 1], out, &finish));
        let transposed = Transposed::new(isa, &weight, [o, c, 3, 3], &strided).unwrap();
        check_maps("transposed", [o, c], [half, SIDE], |map, out| transposed.run(map, out, &finish));
        let depthwise = Depthwise::new(isa, &taps, [c, 1, 3, 3], &apart).unwrap();
        check_maps("depthwise", [c, c], [SIDE; 2], |map, out| depthwise.run(map, out, &finish));
        check_maps("depthwise back", [c, c], [SIDE; 2], |map, out| depthwise.gradient(map, out, &finish));
        check_maps("copy", [c, c], [SIDE; 2], |map, out| copy(isa, map, Some(&taps[..c]), out, &finish));
        check_maps("average pool", [c, c], [SIDE, half], |map, out| {
            let windows = Windows::adaptive(SIDE, half);
            average_pool(isa, map, [&windows, &windows], out)
        });
        check_maps("average pool back", [c, c], [half, SIDE], |map, out| {
            let windows = Windows::adaptive(SIDE, half);
            average_pool_gradient(isa, map, [&windows, &windows], out, false)
        });
        let windows =
            Windows::sliding(&Pool { kernel: [3; 2], padding: [1, 1, 0, 0], ..Pool::default() }, 0, SIDE).unwrap();
        let pooled = windows.count();
        check_maps("max pool", [c, c], [SIDE, pooled], |map, out| max_pool(isa, map, [&windows, &windows], out));
        let seen = numbers(5, 6 * PIXELS * c);
        check_maps("max pool back", [c, c], [pooled, SIDE], |map, out| {
            let rows = map.shape()[0];
            let seen = Map::new(&seen[..rows * PIXELS * c], [rows, SIDE, SIDE, c])?;
            let gate = PoolGate { activation: None, accumulate: false };
            max_pool_gradient(isa, seen, map, [&windows, &windows], out, &gate)
        });
        let x = numbers(6, 6 * 900);
        let dense = numbers(7, 80 * 900);
        check("linear", |rows| {
            let mut out = vec![0.0; rows * 80];
            linear(isa, &x[..rows * 900], &dense, None, (-9.0, 9.0), [rows, 900, 80], &mut out).unwrap();
            out
        });
        check("linear back", |rows| {
            let mut out = vec![0.0; rows * 900];
            linear_gradient(isa, &x[..rows * 80], &dense, [rows, 900, 80], false, &mut out).unwrap();
            out
        });
    }
}
