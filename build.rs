//! Tells cargo what the binary embeds: `include_dir!` reads the folders without cargo's knowledge.

fn main() {
    for folder in ["recipes", "stage0", "seeds"] {
        println!("cargo:rerun-if-changed={folder}");
    }
}
