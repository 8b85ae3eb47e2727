use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use serde_json::Value;

use crate::run::Failure;

/// A package of this workspace.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) published: bool,
    pub(crate) features: Vec<String>,
    /// The root files of its library and programs.
    pub(crate) roots: Vec<PathBuf>,
}

impl Package {
    /// Its features as `package/feature`.
    pub(crate) fn qualified_features(&self) -> impl Iterator<Item = String> {
        let qualified = |feature| format!("{}/{feature}", self.name);
        self.features.iter().map(qualified)
    }
}

/// Returns the Cargo that runs this program, including its toolchain.
pub(crate) fn cargo() -> &'static str {
    static CARGO: LazyLock<String> =
        LazyLock::new(|| std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
    &CARGO
}

/// Returns the root of the workspace. Asks at run time, because checkouts that share a build
/// directory share this program.
pub(crate) fn root() -> PathBuf {
    let here = std::env::var_os("CARGO_MANIFEST_DIR");
    let here = here.map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    here.parent().map_or(here.clone(), Path::to_path_buf)
}

/// Returns the packages of this workspace, and its build directory.
pub(crate) fn load() -> Result<(Vec<Package>, PathBuf), Failure> {
    let output = Command::new(cargo())
        .args(["metadata", "--no-deps", "--format-version=1"])
        .output()
        .map_err(|error| format!("cargo metadata: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let metadata: Value =
        serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())?;
    let target = metadata["target_directory"].as_str().unwrap_or("target");
    Ok((packages(&metadata), target.into()))
}

fn packages(metadata: &Value) -> Vec<Package> {
    let package = |value: &Value| Package {
        name: value["name"].as_str().unwrap_or_default().to_owned(),
        // `publish = false` becomes an empty list of registries, and no restriction becomes null.
        published: value["publish"].as_array().is_none_or(|to| !to.is_empty()),
        features: value["features"]
            .as_object()
            .map(|features| features.keys().cloned().collect())
            .unwrap_or_default(),
        roots: roots(&value["targets"]),
    };
    metadata["packages"]
        .as_array()
        .map(|all| all.iter().map(package).collect())
        .unwrap_or_default()
}

fn roots(targets: &Value) -> Vec<PathBuf> {
    let has_modules = |target: &&Value| {
        let kinds = target["kind"].as_array().into_iter().flatten();
        let mut kinds = kinds.filter_map(Value::as_str);
        kinds.any(|kind| ["lib", "bin", "proc-macro"].contains(&kind))
    };
    let targets = targets.as_array().into_iter().flatten();
    let files = targets.filter(has_modules);
    files
        .filter_map(|target| target["src_path"].as_str().map(PathBuf::from))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::{Package, packages};

    #[test]
    fn what_is_published_and_its_features_come_from_metadata() {
        let metadata = serde_json::json!({"packages": [
            {"name": "a", "publish": null, "features": {"default": ["x"], "x": []},
             "targets": [{"kind": ["lib"], "src_path": "a/src/lib.rs"}]},
            {"name": "b", "publish": [], "features": {},
             "targets": [{"kind": ["test"], "src_path": "b/tests/b.rs"}]},
        ]});
        let expected = [
            ("a", true, vec!["default", "x"], vec!["a/src/lib.rs"]),
            ("b", false, vec![], vec![]),
        ];
        let expected = expected.map(|(name, published, features, roots)| Package {
            name: name.into(),
            published,
            features: features.into_iter().map(String::from).collect(),
            roots: roots.into_iter().map(PathBuf::from).collect(),
        });
        assert_eq!(packages(&metadata), expected);
    }
}
