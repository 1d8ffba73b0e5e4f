package mspfn.derain

import android.net.Uri
import android.os.Bundle
import androidx.activity.ComponentActivity
import androidx.activity.compose.rememberLauncherForActivityResult
import androidx.activity.compose.setContent
import androidx.activity.enableEdgeToEdge
import androidx.activity.result.PickVisualMediaRequest
import androidx.activity.result.contract.ActivityResultContracts.PickVisualMedia
import androidx.activity.result.contract.ActivityResultContracts.TakePicture
import androidx.activity.viewModels
import androidx.compose.foundation.isSystemInDarkTheme
import androidx.compose.material3.MaterialTheme
import androidx.compose.material3.darkColorScheme
import androidx.compose.material3.lightColorScheme
import androidx.compose.runtime.collectAsState
import androidx.compose.runtime.getValue
import androidx.core.content.FileProvider
import java.io.File

class MainActivity : ComponentActivity() {

    private val derain: DerainViewModel by viewModels()

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        enableEdgeToEdge()
        setContent {
            val scheme = if (isSystemInDarkTheme()) darkColorScheme() else lightColorScheme()
            MaterialTheme(scheme) {
                val state by derain.state.collectAsState()
                val chooser = rememberLauncherForActivityResult(PickVisualMedia()) { uri ->
                    uri?.let(derain::restore)
                }
                val camera = rememberLauncherForActivityResult(TakePicture()) { taken ->
                    if (taken) derain.restore(photograph())
                }
                DerainScreen(
                    state,
                    onChoose = { chooser.launch(PickVisualMediaRequest(PickVisualMedia.ImageOnly)) },
                    onPhotograph = { camera.launch(photograph()) },
                )
            }
        }
    }

    /** The one file that the camera writes to. */
    private fun photograph(): Uri {
        val file = File(cacheDir, "photographs/photograph.jpg")
        checkNotNull(file.parentFile).mkdirs()
        return FileProvider.getUriForFile(this, "$packageName.photographs", file)
    }
}
