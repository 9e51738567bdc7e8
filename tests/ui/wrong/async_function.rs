use runtime::worker;

#[worker]
async fn fetch(url: String) -> String {
    url
}

fn main() {
    drop(fetch(String::new()));
}
