// swift-tools-version: 6.2
import PackageDescription

// A program that prunes by calling Coppice. Elsewhere the dependency is
// `.package(url: "https://github.com/…/coppice", from: "…")`.
let package = Package(
  name: "embedding",
  dependencies: [.package(name: "coppice", path: "../..")],
  targets: [
    .executableTarget(
      name: "embedding",
      dependencies: [
        .product(name: "Coppice", package: "coppice"),
        // The part that speaks to libtorch: a library of its own, built beside the program and opened when first needed.
        .product(name: "coppice_torch", package: "coppice"),
      ])
  ]
)
