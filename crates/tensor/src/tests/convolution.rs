use super::{assert_close, check_gradients, check_rows_alone, gradients, numbers, tensor, values};
use crate::{Conv, conv_transpose2d, conv1d, conv2d};
use candle_core::{DType, Result, Tensor, Var};

/// The definition, one product at a time.
fn by_definition(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, conv: &Conv) -> Result<Tensor> {
    let ((n, c, h, w), (outputs, per_group, kh, kw)) = (x.dims4()?, weight.dims4()?);
    let size = |axis: usize, input: usize, kernel: usize| {
        (input + conv.padding[axis] + conv.padding[axis + 2] - conv.dilation[axis] * (kernel - 1) - 1)
            / conv.stride[axis]
            + 1
    };
    let (oh, ow) = (size(0, h, kh), size(1, w, kw));
    let (xs, ws) = (values(x), values(weight));
    let mut y = Vec::new();
    for image in 0..n {
        for output in 0..outputs {
            let group = output / (outputs / conv.groups);
            for (oy, ox) in (0..oh).flat_map(|oy| (0..ow).map(move |ox| (oy, ox))) {
                let mut sum = bias.map_or(0., |bias| values(bias)[output]);
                for (channel, ky, kx) in
                    (0..per_group).flat_map(|c| (0..kh).flat_map(move |y| (0..kw).map(move |x| (c, y, x))))
                {
                    let row = (oy * conv.stride[0] + ky * conv.dilation[0]) as isize - conv.padding[0] as isize;
                    let column = (ox * conv.stride[1] + kx * conv.dilation[1]) as isize - conv.padding[1] as isize;
                    if row >= 0 && column >= 0 && (row as usize) < h && (column as usize) < w {
                        let place = ((image * c + group * per_group + channel) * h + row as usize) * w;
                        sum += xs[place + column as usize] * ws[((output * per_group + channel) * kh + ky) * kw + kx];
                    }
                }
                y.push(sum);
            }
        }
    }
    Ok(tensor(&y, &[n, outputs, oh, ow]))
}

/// Odd sizes, strides, one-sided padding, dilation, groups, depthwise with and without a multiplier, pointwise.
pub(super) fn cases() -> Vec<([usize; 4], [usize; 4], Conv)> {
    let conv = |stride, padding, dilation, groups| Conv { stride, padding, dilation, groups };
    vec![
        ([2, 3, 5, 6], [4, 3, 3, 3], conv([1, 1], [1, 1, 1, 1], [1, 1], 1)),
        ([1, 2, 7, 5], [3, 2, 3, 2], conv([2, 1], [0, 1, 2, 0], [1, 1], 1)),
        ([2, 2, 8, 7], [2, 2, 3, 3], conv([2, 3], [1, 0, 0, 2], [2, 1], 1)),
        ([1, 4, 5, 5], [6, 2, 3, 3], conv([1, 2], [1, 1, 1, 1], [1, 2], 2)),
        ([2, 3, 6, 5], [3, 1, 3, 3], conv([2, 2], [0, 0, 1, 1], [1, 1], 3)),
        ([1, 2, 5, 5], [6, 1, 3, 2], conv([1, 1], [2, 1, 0, 1], [1, 1], 2)),
        ([2, 3, 4, 5], [5, 3, 1, 1], conv([1, 1], [0; 4], [1, 1], 1)),
        ([1, 3, 5, 5], [2, 3, 1, 1], conv([2, 2], [0; 4], [1, 1], 1)),
        ([1, 1, 1, 1], [1, 1, 3, 3], conv([1, 1], [1, 1, 1, 1], [1, 1], 1)),
        // Whole taps that see nothing but padding.
        ([1, 1, 2, 2], [1, 1, 5, 5], conv([1, 1], [4, 4, 4, 4], [1, 1], 1)),
        ([1, 2, 9, 9], [2, 2, 3, 3], conv([4, 4], [0; 4], [1, 1], 1)),
    ]
}

#[test]
fn conv2d_is_its_definition_and_has_its_gradients() {
    for (size, kernel, conv) in cases() {
        let (x, weight, bias) = (numbers(&size, 1), numbers(&kernel, 2), numbers(&[kernel[0]], 3));
        let y = conv2d(&x, &weight, Some(&bias), &conv).unwrap();
        assert_close(&y, &by_definition(&x, &weight, Some(&bias), &conv).unwrap(), 1e-12);
        check_gradients(&[x.clone(), weight.clone(), bias], |t| conv2d(&t[0], &t[1], Some(&t[2]), &conv));
        check_gradients(&[x, weight], |t| conv2d(&t[0], &t[1], None, &conv));
    }
}

#[test]
fn many_pixels_and_channels_cross_every_block() {
    let conv = Conv { padding: [1, 1, 1, 1], ..Conv::default() };
    let (x, weight) = (numbers(&[1, 70, 90, 80], 1), numbers(&[130, 70, 3, 3], 2));
    let y = conv2d(&x, &weight, None, &conv).unwrap();
    // One output channel against the definition, in f64, and everything in f32 against f64.
    let one = by_definition(&x, &weight.narrow(0, 129, 1).unwrap(), None, &conv).unwrap();
    assert_close(&y.narrow(1, 129, 1).unwrap(), &one, 1e-11);
    let narrow = |x: &Tensor| x.to_dtype(DType::F32).unwrap();
    assert_close(&conv2d(&narrow(&x), &narrow(&weight), None, &conv).unwrap(), &y, 1e-4);
    let f = |t: &[Tensor]| conv2d(&t[0], &t[1], None, &conv);
    let wide = gradients(&[x.clone(), weight.clone()], &f);
    let narrow = gradients(&[narrow(&x), narrow(&weight)], &f);
    assert_close(&narrow[0], &wide[0], 1e-4);
    assert_close(&narrow[1], &wide[1], 1e-3);
    // The gradient of the input is the transposed convolution of the cotangent.
    let transposed = conv_transpose2d(&super::cotangent(&y), &weight, None, &conv, [0, 0]).unwrap();
    assert_close(&wide[0], &transposed, 1e-11);
}

/// Sizes from which on `f32` takes the fast kernels: strided, dilated, grouped, depthwise, and for Winograd's filtering.
#[test]
fn large_maps_in_f32_are_those_in_f64() {
    let conv =
        |stride, dilation, groups, padding| Conv { stride: [stride; 2], dilation: [dilation; 2], groups, padding };
    for (size, kernel, conv) in [
        ([2, 6, 45, 43], [10, 6, 3, 3], conv(2, 1, 1, [1, 0, 1, 2])),
        ([1, 8, 33, 31], [12, 4, 3, 2], conv(1, 2, 2, [1, 1, 1, 1])),
        ([2, 20, 25, 24], [20, 1, 3, 3], conv(1, 1, 20, [1, 1, 1, 1])),
        ([1, 18, 61, 58], [17, 18, 3, 3], conv(1, 1, 1, [1, 1, 1, 1])),
        ([2, 30, 21, 22], [40, 30, 1, 1], conv(1, 1, 1, [0; 4])),
    ] {
        let (x, weight, bias) = (numbers(&size, 1), numbers(&kernel, 2), numbers(&[kernel[0]], 3));
        let arguments = [x, weight, bias];
        let narrow: Vec<Tensor> = arguments.iter().map(|x| x.to_dtype(DType::F32).unwrap()).collect();
        let f = |t: &[Tensor]| conv2d(&t[0], &t[1], Some(&t[2]), &conv);
        let far = |a: &Tensor, b: &Tensor| {
            let difference = (a.to_dtype(DType::F64).unwrap() - b).unwrap();
            let length = |x: &Tensor| x.sqr().unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap().sqrt();
            length(&difference) / length(b)
        };
        assert!(far(&f(&narrow).unwrap(), &f(&arguments).unwrap()) <= 1e-5, "{size:?}");
        assert!(far(&gradients(&narrow, &f)[0], &gradients(&arguments, &f)[0]) <= 1e-5, "gradient of {size:?}");
        // A row is computed as if it were alone, to the last bit.
        let row = |x: &Tensor| x.narrow(0, 0, 1).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let alone = [narrow[0].narrow(0, 0, 1).unwrap(), narrow[1].clone(), narrow[2].clone()];
        assert_eq!(row(&f(&alone).unwrap()), row(&f(&narrow).unwrap()));
    }
}

#[test]
fn one_argument_used_twice_gets_both_gradients() {
    let conv = Conv { padding: [1, 1, 1, 1], ..Conv::default() };
    let weight = numbers(&[2, 2, 3, 3], 5);
    check_gradients(&[numbers(&[1, 2, 4, 4], 4)], |t| {
        let once = conv2d(&t[0], &weight, None, &conv)?;
        conv2d(&(once * &t[0])?, &weight, None, &conv)? + &t[0]
    });
    // The input is its own kernel.
    check_gradients(&[numbers(&[1, 1, 3, 3], 6)], |t| conv2d(&t[0], &t[0], None, &conv));
}

#[test]
fn frozen_weights_get_no_gradient_and_untracked_results_no_node() {
    let (x, weight, bias) = (numbers(&[1, 2, 4, 4], 1), numbers(&[3, 2, 3, 3], 2), numbers(&[3], 3));
    let conv = Conv::default();
    assert!(!conv2d(&x, &weight, Some(&bias), &conv).unwrap().track_op());
    let x = Var::from_tensor(&x).unwrap();
    let y = conv2d(&x, &weight, Some(&bias), &conv).unwrap();
    let store = y.sum_all().unwrap().backward().unwrap();
    assert!(store.get(&x).is_some() && store.get(&weight).is_none() && store.get(&bias).is_none());
    // Only the weight is trained: no gradient of the input.
    let (x, weight) = (x.as_tensor().detach(), Var::from_tensor(&weight).unwrap());
    let store = conv2d(&x, &weight, Some(&bias), &conv).unwrap().sum_all().unwrap().backward().unwrap();
    assert!(store.get(&x).is_none() && store.get(&weight).is_some());
}

#[test]
fn conv1d_is_conv2d_of_one_row() {
    for (padding, stride, dilation, groups) in [([0; 4], 1, 1, 1), ([9, 2, 9, 1], 2, 2, 2), ([0, 1, 0, 1], 3, 1, 4)] {
        let conv = Conv { stride: [7, stride], padding, dilation: [5, dilation], groups };
        let (x, weight, bias) = (numbers(&[2, 4, 9], 1), numbers(&[4, 4 / groups, 3], 2), numbers(&[4], 3));
        check_gradients(&[x, weight, bias], |t| conv1d(&t[0], &t[1], Some(&t[2]), &conv));
    }
}

#[test]
fn transposed_convolution_has_its_gradients_and_turns_conv2d_around() {
    for (size, kernel, conv) in cases() {
        let x = numbers(&size, 1);
        let y = conv2d(&x, &numbers(&kernel, 2), None, &conv).unwrap();
        // What the stride left over, so that the shapes meet again.
        let extra = |axis: usize| {
            let padded = size[axis + 2] + conv.padding[axis] + conv.padding[axis + 2];
            (padded - conv.dilation[axis] * (kernel[axis + 2] - 1) - 1) % conv.stride[axis]
        };
        let extra = [extra(0), extra(1)];
        let f = |t: &[Tensor]| conv_transpose2d(&t[0], &t[1], Some(&t[2]), &conv, extra);
        let bias = numbers(&[size[1]], 3);
        assert_eq!(f(&[y.clone(), numbers(&kernel, 2), bias.clone()]).unwrap().dims(), size);
        check_gradients(&[numbers(y.dims(), 4), numbers(&kernel, 2), bias], f);
    }
}

#[test]
fn a_row_does_not_depend_on_its_batch() {
    for (size, kernel, conv) in cases() {
        let x = numbers(&[5, size[1], size[2], size[3]], 1).to_dtype(DType::F32).unwrap();
        let weight = numbers(&kernel, 2).to_dtype(DType::F32).unwrap();
        check_rows_alone(&x, |x| conv2d(x, &weight, None, &conv));
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    let conv = Conv { padding: [1, 1, 1, 1], stride: [2, 1], ..Conv::default() };
    let to_f32 = |x: Tensor| x.to_dtype(DType::F32).unwrap();
    let inputs = [to_f32(numbers(&[3, 9, 40, 41], 1)), to_f32(numbers(&[70, 9, 3, 3], 2))];
    let run = |threads: usize| -> Vec<Vec<f64>> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| gradients(&inputs, &|t| conv2d(&t[0], &t[1], None, &conv)).iter().map(values).collect())
    };
    assert_eq!(run(1), run(5));
}

#[test]
fn half_precision_is_computed_in_single() {
    let (x, weight) = (numbers(&[1, 3, 6, 6], 1), numbers(&[4, 3, 3, 3], 2));
    for dtype in [DType::BF16, DType::F16] {
        let (x, weight) = (x.to_dtype(dtype).unwrap(), weight.to_dtype(dtype).unwrap());
        let x = Var::from_tensor(&x).unwrap();
        let y = conv2d(&x, &weight, None, &Conv::default()).unwrap();
        assert_eq!(y.dtype(), dtype);
        let wide = |x: &Tensor| x.to_dtype(DType::F32).unwrap();
        let expected = conv2d(&wide(&x).detach(), &wide(&weight), None, &Conv::default()).unwrap();
        assert_eq!(values(&y), values(&expected.to_dtype(dtype).unwrap()));
        let gradient = y.sum_all().unwrap().backward().unwrap().get(&x).unwrap().clone();
        assert_eq!(gradient.dtype(), dtype);
    }
}

#[test]
fn operands_need_not_be_contiguous() {
    let (x, weight) = (numbers(&[2, 3, 5, 6], 1), numbers(&[4, 3, 3, 3], 2));
    let conv = Conv::default();
    check_gradients(&[x, weight], |t| {
        let y = conv2d(&t[0].transpose(2, 3)?, &t[1].transpose(2, 3)?, None, &conv)?;
        y.transpose(2, 3)
    });
}

#[test]
fn padding_may_reach_further_than_the_kernel() {
    // The gradient at the pixel lies behind the only window: among zeros.
    let conv = Conv { stride: [3, 3], padding: [0, 2, 0, 0], ..Conv::default() };
    check_gradients(&[numbers(&[1, 1, 1, 1], 1), numbers(&[1, 1, 1, 1], 2)], |t| conv2d(&t[0], &t[1], None, &conv));
}

#[test]
fn an_empty_batch_stays_empty() {
    let y = conv2d(&numbers(&[0, 2, 4, 4], 1), &numbers(&[3, 2, 3, 3], 2), None, &Conv::default()).unwrap();
    assert_eq!(y.dims(), [0, 3, 2, 2]);
}

#[test]
fn what_does_not_fit_is_an_error_that_names_it() {
    let x = numbers(&[1, 2, 4, 4], 1);
    let error = |kernel: &[usize], conv: Conv| conv2d(&x, &numbers(kernel, 2), None, &conv).unwrap_err().to_string();
    assert!(error(&[1, 2, 3, 3], Conv { stride: [0, 1], ..Conv::default() }).contains("stride"));
    assert!(error(&[1, 2, 3, 3], Conv { groups: 0, ..Conv::default() }).contains("groups"));
    assert!(error(&[1, 2, 5, 3], Conv::default()).contains("larger than the padded input"));
    assert!(error(&[1, 3, 3, 3], Conv::default()).contains("2 channels"));
    assert!(error(&[3, 1, 3, 3], Conv { groups: 2, ..Conv::default() }).contains("multiple of 2"));
    assert!(error(&[2, 3, 3], Conv::default()).contains("(N, C, H, W)"));
    let bias = conv2d(&x, &numbers(&[1, 2, 3, 3], 2), Some(&numbers(&[2], 1)), &Conv::default());
    assert!(bias.unwrap_err().to_string().contains("bias of shape [1]"));
    let weight = numbers(&[2, 1, 1, 1], 2);
    let padded = Conv { padding: [2, 2, 2, 2], ..Conv::default() };
    assert!(conv_transpose2d(&x, &weight, None, &padded, [0, 0]).unwrap_err().to_string().contains("leaves nothing"));
    assert!(conv_transpose2d(&x, &weight, None, &Conv::default(), [1, 0]).unwrap_err().to_string().contains("output"));
}
