//! Where functions have a kink or a tie: ReLU at exactly zero, equal maxima under a pool, and NaN, which must not be
//! lost there. On every instruction set, as each has its own comparisons.

use crate::binary::{command, finish, folder_with};
use crate::simd::simd_paths;

/// Runs a script of assertions on every instruction set.
#[track_caller]
fn holds(script: &str) {
    for simd in simd_paths() {
        let folder = folder_with(script);
        let ended = finish(command(folder.path()).env("CANDLEWICK_SIMD", simd).args(["run", "s.rhai"]));
        assert_eq!(ended.code, Some(0), "{simd}: {}", ended.stderr);
    }
}

#[test]
fn the_slope_of_relu_at_zero_is_zero() {
    holds(
        r#"
        let shape = #{ channels: 2, size: 6, classes: 2 };
        // Two of three pixels are exactly zero or below it.
        let x = parameter(where(uniform([3, 2, 6, 6]) < 0.4, 0.0, normal([3, 2, 6, 6])));
        assert(sum(to(x == 0.0, "float32")).item() > 50.0);
        let builds = [
            |g, x| g.relu(x),
            |g, x| g.add([g.relu(x), g.relu(x)]),
            |g, x| g.pointwise(g.relu(x), 2),
            |g, x| g.conv(g.relu(x), 2, #{ kernel: 3 }),
            |g, x| g.conv(g.relu(x), 2, #{ kernel: 3, stride: 2 }),
            |g, x| g.depthwise(g.relu(x), 3),
            |g, x| g.depthwise(g.relu(x), 3, #{ stride: 2 }),
            |g, x| g.pointwise(g.depthwise(g.relu(x), 5, #{ dilation: 2 }), 2),
            |g, x| g.avg_pool(g.relu(x), 3),
            |g, x| g.halve(g.relu(x), 2),
        ];
        for (build, number) in builds {
            let net = network(shape, |g, x| g.global_pool(build.call(g, x)));
            let slope = gradient(sum(square(net.forward(x))), x);
            assert_equal([number, sum(abs(where(x <= 0.0, slope, 0.0))).item()], [number, 0.0]);
            assert(sum(abs(slope)).item() > 0.0, `network ${number} has no gradient`);
        }
        "#,
    );
}

#[test]
fn the_first_of_equal_maxima_takes_the_gradient() {
    // Windows go row by row; what is outside never wins.
    holds(
        r#"
        let cases = [
            #{ size: 3, kernel: 3, stride: 1, padding: 1, first: [[4, 2, 0], [2, 1, 0], [0, 0, 0]] },
            #{ size: 3, kernel: 2, stride: 1, padding: 0, first: [[1, 1, 0], [1, 1, 0], [0, 0, 0]] },
            #{ size: 4, kernel: 2, stride: 2, padding: 0,
               first: [[1, 0, 1, 0], [0, 0, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]] },
            #{ size: 4, kernel: 3, stride: 2, padding: 1,
               first: [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]] },
        ];
        for pool in cases {
            for channels in [1, 17] {
                let net = network(#{ channels: channels, size: pool.size, classes: channels }, |g, x| {
                    g.global_pool(g.max_pool(x, pool.kernel, #{ stride: pool.stride, padding: pool.padding }))
                });
                let shape = [2, channels, pool.size, pool.size];
                let first = broadcast_to(tensor(pool.first) * 1.0, shape);
                let windows = sum(first[0][0]).item();
                // Everywhere the same number, as where a ReLU has cut all of them off.
                for value in [0.0, -1.5] {
                    let x = parameter(full(shape, value));
                    let slope = gradient(sum(net.forward(x)), x);
                    assert(all_close(slope * windows, first, 1e-6), `${pool}: ${slope[0][0]}`);
                }
            }
        }
        "#,
    );
}

#[test]
fn nan_passes_through_every_kink() {
    holds(
        r#"
        let nan = 0.0 / 0.0;
        let builds = [
            |g, x| g.relu(x),
            |g, x| g.pointwise(g.relu(x), 1),
            |g, x| g.conv(g.relu(x), 1, #{ kernel: 3 }),
            |g, x| g.pointwise(g.depthwise(g.relu(x), 3), 1),
            |g, x| g.max_pool(x, 3),
            |g, x| g.max_pool(g.relu(x), 3, #{ stride: 2 }),
            |g, x| g.max_pool(x, 2, #{ padding: 0 }),
        ];
        for (build, number) in builds {
            let net = network(#{ channels: 1, size: 4, classes: 1 }, |g, x| g.global_pool(build.call(g, x)));
            for place in 0..16 {
                let x = where(one_hot([place], 16) == 1.0, nan, 0.5);
                let out = net.forward(reshape(x, [1, 1, 4, 4])).item();
                assert(out.is_nan(), `network ${number} has lost the NaN at ${place}: ${out}`);
            }
        }
        "#,
    );
}
