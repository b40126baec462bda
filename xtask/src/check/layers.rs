//! Which package may depend on which: `xen-abi <- hv-core <- hv-boot <- hv-arch <- hypervisor` (ADR 1 says
//! why the boot code is below); Dom0's shim and the guests see the public ABI and their runtime only.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use cargo_metadata::Metadata;

/// Whether a package may hold unsafe code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unsafe {
    /// Every root file says `#![forbid(unsafe_code)]`.
    Forbidden,
    Allowed,
}

/// The rule for one package.
pub(super) struct Layer {
    pub(super) package: &'static str,
    /// Packages of ours that it may use.
    uses: &'static [&'static str],
    pub(super) unsafe_code: Unsafe,
}

/// Every package of the workspace has its row here.
pub(super) const LAYERS: &[Layer] = &[
    Layer { package: "xen-abi", uses: &[], unsafe_code: Unsafe::Forbidden },
    Layer { package: "hv-core", uses: &["xen-abi"], unsafe_code: Unsafe::Forbidden },
    Layer { package: "hv-boot", uses: &["xen-abi", "hv-core"], unsafe_code: Unsafe::Allowed },
    Layer { package: "hv-arch", uses: &["xen-abi", "hv-core", "hv-boot"], unsafe_code: Unsafe::Allowed },
    Layer { package: "hypervisor", uses: &["xen-abi", "hv-core", "hv-arch"], unsafe_code: Unsafe::Forbidden },
    Layer { package: "xen-control", uses: &["xen-abi"], unsafe_code: Unsafe::Forbidden },
    Layer { package: "xen-store", uses: &["xen-abi"], unsafe_code: Unsafe::Forbidden },
    Layer { package: "xl-config", uses: &[], unsafe_code: Unsafe::Forbidden },
    Layer { package: "xl", uses: &["xl-config"], unsafe_code: Unsafe::Forbidden },
    Layer { package: "xen-backend", uses: &["xen-abi"], unsafe_code: Unsafe::Forbidden },
    Layer { package: "storage", uses: &[], unsafe_code: Unsafe::Forbidden },
    Layer { package: "network", uses: &[], unsafe_code: Unsafe::Forbidden },
    Layer { package: "drivers", uses: &["network", "storage"], unsafe_code: Unsafe::Forbidden },
    Layer {
        package: "block-backend",
        uses: &["xen-abi", "xen-backend", "storage"],
        unsafe_code: Unsafe::Forbidden,
    },
    Layer {
        package: "network-backend",
        uses: &["xen-abi", "xen-backend", "network"],
        unsafe_code: Unsafe::Forbidden,
    },
    Layer {
        package: "guest-rt",
        uses: &["drivers", "xen-abi", "xen-backend", "xen-control"],
        unsafe_code: Unsafe::Allowed,
    },
    Layer {
        package: "toolstack",
        uses: &["xen-abi", "xen-control", "xl", "xl-config"],
        unsafe_code: Unsafe::Forbidden,
    },
    Layer {
        package: "dom0-shim",
        uses: &[
            "xen-abi",
            "xen-backend",
            "xen-control",
            "xen-store",
            "xl-config",
            "xl",
            "block-backend",
            "drivers",
            "network",
            "network-backend",
            "storage",
            "toolstack",
            "guest-rt",
        ],
        unsafe_code: Unsafe::Forbidden,
    },
    Layer {
        package: "guest-tests",
        uses: &["xen-abi", "xen-control", "guest-rt"],
        unsafe_code: Unsafe::Forbidden,
    },
    Layer { package: "demo-guest", uses: &["xen-abi", "guest-rt"], unsafe_code: Unsafe::Forbidden },
    Layer {
        package: "front-guest",
        uses: &["xen-abi", "xen-backend", "guest-rt"],
        unsafe_code: Unsafe::Forbidden,
    },
    Layer {
        package: "sched-sim",
        uses: &["hv-core", "xen-abi", "xl-config"],
        unsafe_code: Unsafe::Forbidden,
    },
    Layer { package: "xtask", uses: &["hv-core", "sched-sim", "xen-abi"], unsafe_code: Unsafe::Forbidden },
];

pub(super) fn layer(package: &str) -> Option<&'static Layer> {
    LAYERS.iter().find(|layer| layer.package == package)
}

pub(super) fn check(metadata: &Metadata) -> Result<()> {
    let complaints = complaints(&own_dependencies(metadata));
    ensure!(complaints.is_empty(), "{}", complaints.join("\n"));
    Ok(())
}

/// Each package of the workspace with the packages of the workspace that it uses, in tests as well.
fn own_dependencies(metadata: &Metadata) -> BTreeMap<String, Vec<String>> {
    let packages = metadata.workspace_packages();
    let own = |name: &str| packages.iter().any(|package| package.name == name);
    let uses = |package: &cargo_metadata::Package| {
        let names = package.dependencies.iter().map(|dependency| dependency.name.clone());
        names.filter(|name| own(name)).collect()
    };
    packages.iter().map(|package| (package.name.to_string(), uses(package))).collect()
}

fn complaints(dependencies: &BTreeMap<String, Vec<String>>) -> Vec<String> {
    let mut complaints = Vec::new();
    for (package, uses) in dependencies {
        let Some(layer) = layer(package) else {
            complaints.push(format!("package {package} has no row in LAYERS of xtask/src/check/layers.rs"));
            continue;
        };
        let wrong = uses.iter().filter(|used| !layer.uses.contains(&used.as_str()));
        complaints.extend(wrong.map(|used| format!("{package} must not use {used}")));
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints_about(pairs: &[(&str, &[&str])]) -> Vec<String> {
        let own = pairs.iter().map(|(package, uses)| {
            (String::from(*package), uses.iter().map(|used| String::from(*used)).collect())
        });
        complaints(&own.collect())
    }

    #[test]
    fn dependencies_point_one_way() {
        assert!(
            complaints_about(&[("hv-core", &["xen-abi"]), ("hypervisor", &["hv-arch", "hv-core"])])
                .is_empty()
        );
        assert_eq!(complaints_about(&[("xen-abi", &["hv-core"])]), ["xen-abi must not use hv-core"]);
        assert_eq!(
            complaints_about(&[("dom0-shim", &["xen-abi", "hv-core"])]),
            ["dom0-shim must not use hv-core"]
        );
    }

    #[test]
    fn each_package_needs_a_rule() {
        assert!(complaints_about(&[("newcomer", &[])])[0].contains("newcomer has no row"));
    }

    #[test]
    fn rules_name_packages_with_rules_and_have_no_cycle() {
        for (index, rule) in LAYERS.iter().enumerate() {
            for used in rule.uses {
                assert!(LAYERS[..index].iter().any(|earlier| earlier.package == *used), "{used}");
            }
        }
    }
}
