//! Draws, maps onto the simplex and layers of a script: the right distributions, the right gradients.

use crate::tensors::{CHECK, fails, run};

#[test]
fn sparse_maps_and_layers_have_the_gradients_of_differences() {
    run(&format!(
        r#"{CHECK}
        let scores = tensor([[1.0, 0.4, -1.0, 0.9], [0.7, 0.1, 0.2, -0.3], [0.1, 0.2, 0.15, 0.05]]);
        check("sparsemax", |x| sparsemax(x), scores);
        check("sparsemax along the first axis", |x| sparsemax(x, 0), scores);
        check("entmax15", |x| entmax15(x), scores);
        check("entmax15 along the first axis", |x| entmax15(x, 0), scores);
        check("lgamma", |x| lgamma(x), tensor([0.3, 1.7, 20.0]));
        check("digamma", |x| digamma(x), tensor([0.3, 1.7, 20.0]));
        "#
    ));
}

#[test]
fn a_sparse_map_gives_weights_that_add_up_to_one_and_equal_scores_equal_shares() {
    run(r#"
        let scores = normal([50, 9], #{ std: 3.0 });
        for map in [|x| sparsemax(x), |x| entmax15(x)] {
            let weights = map.call(scores);
            assert(all_close(sum(weights, 1), ones([50])));
            assert(min(weights).item() >= 0.0);
            assert(sum(weights == 0.0).item() > 50.0);
            assert(all_close(map.call(full([3, 4], 7.0)), full([3, 4], 0.25)));
            assert_equal(map.call(tensor([[9.0, -9.0]])), tensor([[1, 0]]));
        }
    "#);
    fails("sparsemax(tensor([1.0, 0.0]) / 0.0)", "a score is");
}

#[test]
fn the_gradient_of_a_dirichlet_draw_averages_to_that_of_its_second_moment() {
    // E[θ_i²] = a_i (a_i + 1) / (A (A + 1)) with A the sum of all a.
    run(r#"
        let a = parameter(tensor([0.6, 1.5, 4.0]));
        let rows = 60000;
        let squares = mean(square(dirichlet(broadcast_to(a, [rows, 3]))), 0);
        let total = sum(a);
        let expected = a * (a + 1.0) / (total * (total + 1.0));
        assert(all_close(squares, expected, 0.02));
        for i in 0..3 {
            let found = gradient(squares[i], a);
            let right = gradient(expected[i], a);
            assert(norm(found - right).item() < 0.04 * norm(right).item(), `${found} is not ${right}`);
        }
    "#);
}

#[test]
fn concentrations_so_small_that_a_draw_would_be_zero_still_give_weights() {
    run(r#"
        let a = parameter(full([200, 5], 0.001));
        let weights = dirichlet(a);
        assert(all_close(sum(weights, 1), ones([200])));
        let slope = gradient(sum(square(weights)), a);
        assert(norm(slope).item() < 1e30);
    "#);
    fails("dirichlet(tensor([1.0, 0.0]))", "0 is not above 0 and finite");
    fails("gamma(tensor([-1.0]))", "-1 is not above 0 and finite");
}

#[test]
fn draws_of_an_index_have_the_probabilities_of_the_softmax() {
    run(r#"
        let drawn = categorical(broadcast_to(log(tensor([0.1, 0.3, 0.6])), [20000, 3]));
        let shares = mean(one_hot(drawn, 3), 0);
        assert(norm(shares - tensor([0.1, 0.3, 0.6])).item() < 0.02, `${shares}`);
        let pair = sample_without_replacement(log(tensor([0.01, 0.495, 0.495])), 2);
        assert(pair.shape == [2] && pair[0].item() != pair[1].item());
        assert_equal(categorical(log(tensor([0.0, 1.0]))), tensor(1));
    "#);
    fails("categorical(log(tensor([-1.0, 1.0])))", "a logit is NaN");
    fails("sample_without_replacement(zeros([3]), 4)", "4 different ones of 3 cannot be drawn");
    fails("random_integer(0)", "no whole number from 0 below 0");
}

#[test]
fn layers_compute_what_their_definitions_say() {
    run(r#"
        let x = normal([3, 4]);
        let two = mlp([4, 5, 2], #{ activation: "tanh" });
        let p = two.parameters;
        assert(all_close(two.apply(x), matmul(tanh(matmul(x, p[0]) + p[1]), p[2]) + p[3], 1e-5));

        let cell = lstm_cell(4, 2);
        let q = cell.parameters;
        let state = cell.step(x, cell.step(x, ()));
        let before = cell.step(x, ());
        let sums = matmul(x, q[0]) + matmul(before.h, q[1]) + q[2];
        let part = |i| slice(sums, 1, 2 * i, 2 * i + 2);
        let c = sigmoid(part.call(1)) * before.c + sigmoid(part.call(0)) * tanh(part.call(2));
        assert(all_close(state.c, c, 1e-5) && all_close(state.h, sigmoid(part.call(3)) * tanh(c), 1e-5));

        let gru = gru_cell(4, 2);
        let q = gru.parameters;
        let before = gru.step(x, ());
        let given = matmul(x, q[0]) + q[2];
        let carried = matmul(before.h, q[1]) + q[3];
        let of = |t, i| slice(t, 1, 2 * i, 2 * i + 2);
        let reset = sigmoid(of.call(given, 0) + of.call(carried, 0));
        let update = sigmoid(of.call(given, 1) + of.call(carried, 1));
        let fresh = tanh(of.call(given, 2) + reset * of.call(carried, 2));
        let h = (1.0 - update) * fresh + update * before.h;
        assert(all_close(gru.step(x, before).h, h, 1e-5));

        let rows = embedding(6, 3);
        assert_equal(rows.apply([[5, 0]]).shape, [1, 2, 3]);
        assert_equal(rows.apply(tensor([5]))[0], rows.parameters[0][5]);
    "#);
    fails("mlp([4, 2]).apply(ones([3, 5]))", "a layer 4 → 2 does not take a tensor of shape [3, 5]");
    fails("lstm_cell(4, 2).step(ones([1, 4]), #{ h: ones([1, 2]) })", "the state has no `c`");
    fails("embedding(4, 2).apply([4])", "the index 4 is out of range");
    fails("mlp([4])", "a layer has inputs and outputs");
}

#[test]
fn a_layer_learns_and_its_gradients_are_those_of_all_of_its_parameters() {
    run(r#"
        let net = mlp([2, 16, 1], #{ activation: "tanh" });
        let opt = adam(net.parameters, #{ lr: 0.05, clip: 1.0 });
        let x = tensor([[0, 0], [0, 1], [1, 0], [1, 1]]) * 1.0;
        let y = tensor([[0], [1], [1], [0]]) * 1.0;
        for i in 0..300 {
            opt.step(gradient(mean(square(net.apply(x) - y)), net.parameters));
        }
        assert(mean(square(net.apply(x) - y)).item() < 0.01);
    "#);
}
