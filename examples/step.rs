use candlewick::{bench::SearchStep, random::Seed};
fn main() {
    let a: Vec<usize> = std::env::args().skip(1).map(|a| a.parse().unwrap()).collect();
    rayon::ThreadPoolBuilder::new().num_threads(a[3]).build_global().unwrap();
    let r =
        SearchStep { order: a[0], batch: a[1], channels: 16, layers: 8, size: a[4], steps: a[2] }.run(Seed(0)).unwrap();
    println!("{}", serde_json::to_string(&r).unwrap());
}
