plugins {
    alias(libs.plugins.android.application)
    alias(libs.plugins.kotlin.android)
    alias(libs.plugins.compose.compiler)
}

android {
    namespace = "mspfn.derain"
    compileSdk = 36

    defaultConfig {
        applicationId = "mspfn.derain"
        minSdk = 26
        targetSdk = 36
        versionCode = 1
        versionName = "0.1.0"
        ndk { abiFilters += listOf("arm64-v8a") }
    }
    // The file is mapped into memory, which a compressed one cannot be.
    androidResources { noCompress += "tflite" }
    buildFeatures { compose = true }
    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_17
        targetCompatibility = JavaVersion.VERSION_17
    }
}

kotlin { jvmToolchain(17) }

// The models are those of the Python package; no copy is kept here.
val models = layout.buildDirectory.dir("models")
val copyModels by tasks.registering(Copy::class) {
    // Those for tiles of 512x512 on GPUs: the others are for processors and browsers.
    from("../../mspfn_tf/weights") { include("mspfn_mobile.tflite", "mspfn_nano.tflite") }
    into(models)
}
android.sourceSets["main"].assets.srcDir(models)
tasks.named("preBuild") { dependsOn(copyModels) }

dependencies {
    implementation(libs.litert)
    implementation(libs.litert.gpu)
    implementation(platform(libs.compose.bom))
    implementation(libs.compose.ui)
    implementation(libs.compose.material3)
    implementation(libs.activity.compose)
    implementation(libs.lifecycle.viewmodel.compose)
    implementation(libs.coroutines.android)
    implementation(libs.exifinterface)
}
